"""Fixtures of the training side: tiny encoders and corpora, see ``models``."""

from models import alone, clip, data, encoders, recipe_file, recipe_of

__all__ = ["alone", "clip", "data", "encoders", "recipe_file", "recipe_of"]
