"""A training recipe: one TOML file says which corpora, encoder, head and schedule make a model."""

from calibrate.recipe.material import CorpusRecipe, ValueRecipe
from calibrate.recipe.pretraining import HubertShape, PretrainingRecipe, RoundRecipe, SpeakerPlace
from calibrate.recipe.recipe import Recipe, read_recipe, read_toml
from calibrate.recipe.sections import (
    AugmentationRecipe,
    EncoderRecipe,
    FinetuneRecipe,
    HeadRecipe,
    ScheduleRecipe,
    SplitRecipe,
)

__all__ = [
    "AugmentationRecipe",
    "CorpusRecipe",
    "EncoderRecipe",
    "FinetuneRecipe",
    "HeadRecipe",
    "HubertShape",
    "PretrainingRecipe",
    "Recipe",
    "RoundRecipe",
    "ScheduleRecipe",
    "SpeakerPlace",
    "SplitRecipe",
    "ValueRecipe",
    "read_recipe",
    "read_toml",
]
