"""Robustness: how much worse a model recognises emotions in noise, in rooms, on the phone and through a codec."""

from calibrate.experiments.robustness.experiment import measure_robustness

__all__ = ["measure_robustness"]
