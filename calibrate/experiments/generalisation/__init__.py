"""Generalisation: recipes are chosen by corpora and speakers left out, as files and as streams."""

from calibrate.experiments.generalisation.experiment import Effort, measure_generalisation

__all__ = ["Effort", "measure_generalisation"]
