"""The sweep: a recipe trained over a grid of learning rates and batch sizes, chosen by validation alone."""

from calibrate.experiments.sweep.experiment import measure_sweep

__all__ = ["measure_sweep"]
