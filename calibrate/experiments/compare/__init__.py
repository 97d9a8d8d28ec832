"""Two models, or heads on two encoders, compared on the same utterances."""

from calibrate.experiments.compare.experiment import compare_models

__all__ = ["compare_models"]
