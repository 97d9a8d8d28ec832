"""How far a model's confidence can be trusted, and from which confidence on its answers reach a wanted accuracy."""

from calibrate.experiments.confidence.experiment import measure_confidence

__all__ = ["measure_confidence"]
