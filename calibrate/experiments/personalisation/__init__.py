"""What telling an encoder who speaks is worth on people it never met, beside room, voice profile and label prior."""

from calibrate.experiments.personalisation.experiment import measure_personalisation

__all__ = ["measure_personalisation"]
