"""Fixtures of the training side: tiny encoders and corpora, see ``helpers.models``."""

from helpers.embedding import crema_d, embed, esd
from helpers.models import alone, clip, data, encoders, recipe_file, recipe_of

__all__ = ["alone", "clip", "crema_d", "data", "embed", "encoders", "esd", "recipe_file", "recipe_of"]
