"""Personalised label distribution calibration: what a prior of a person's labels is worth, learnt without labels."""

from calibrate.experiments.pldc.categorical import Belief
from calibrate.experiments.pldc.experiment import Effort, measure_pldc

__all__ = ["Belief", "Effort", "measure_pldc"]
