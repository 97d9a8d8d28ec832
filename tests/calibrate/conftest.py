"""Fixtures of the training side: tiny encoders and corpora, see ``models``."""

from embedding import crema_d, embed, esd
from models import alone, clip, data, encoders, recipe_file, recipe_of

__all__ = ["alone", "clip", "crema_d", "data", "embed", "encoders", "esd", "recipe_file", "recipe_of"]
