"""A training recipe: one TOML file says which corpora, encoder, head and schedule make a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from calibrate.augment import Augmentation
from calibrate.labels import EMOTIONS
from edge.errors import UsageError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class CorpusRecipe(_Section):
    """One corpus to train on."""

    name: str
    """Reader, see ``calibrate.corpora``."""
    folder: str
    """Relative to the data folder given on the command line."""
    licence: str
    """Goes into the model card: it binds the weights."""
    licence_verified: bool = True


class SplitRecipe(_Section):
    """Who trains, validates and tests; never the same speaker twice."""

    file: str = ""
    """CSV of ``corpus,speaker,split`` relative to the data folder; empty draws speakers by ``fractions``."""
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)


class EncoderRecipe(_Section):
    """The pretrained encoder and what is taken from it."""

    name: str
    """Hub name or local folder; ``--encoder`` replaces it."""
    licence: str
    """Of the pretrained weights, for the model card."""
    layers: Annotated[int, Field(ge=1)]
    """Transformer layers kept."""
    pooled: tuple[int, ...]
    """Layers whose mean and standard deviation are features; 0 is the input of the first."""
    finetune: Annotated[int, Field(ge=0)] = 0
    """Last layers to train along with the head; 0 keeps the encoder frozen and its features cached."""
    max_s: Annotated[float, Field(gt=0, le=30)] = 10.0
    """Longest input; the exported position table ends here."""


class AugmentationRecipe(_Section):
    """Copies of the training audio, see :class:`calibrate.augment.Augmentation`."""

    copies: Annotated[int, Field(ge=0)] = 3
    """Augmented copies beside the clean one; when fine-tuning any number above 0 draws anew in every epoch."""
    gain_db: float = 12.0
    noise_probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    snr_db: tuple[float, float] = (5.0, 30.0)
    room_probability: Annotated[float, Field(ge=0, le=1)] = 0.3
    decay_s: tuple[float, float] = (0.1, 0.5)
    telephone_probability: Annotated[float, Field(ge=0, le=1)] = 0.15
    trim_probability: Annotated[float, Field(ge=0, le=1)] = 0.7

    def build(self) -> Augmentation:
        """Return the augmentation itself."""
        return Augmentation(**self.model_dump(exclude={"copies"}))


class HeadRecipe(_Section):
    """What turns pooled layers into labels."""

    kind: Literal["linear", "dense"] = "linear"
    """``linear``; ``dense`` is dropout, dense, tanh, dropout, projection (report B's head)."""
    mix: Literal["concatenate", "weighted"] = "concatenate"
    """Layers side by side, or summed with learned softmax weights."""
    dim: Annotated[int, Field(ge=2)] = 256
    """Size of the embedding: principal components kept (linear) or hidden units (dense)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class ScheduleRecipe(_Section):
    """Optimisation."""

    epochs: Annotated[int, Field(ge=1)] = 30
    batch: Annotated[int, Field(ge=1)] = 256
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    encoder_learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps in which the learning rate rises; it then falls as a cosine."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Recipe(_Section):
    """Everything that makes a model, besides the folders."""

    name: str
    seed: int = 0
    labels: tuple[str, ...] = EMOTIONS
    corpora: tuple[CorpusRecipe, ...]
    splits: SplitRecipe = SplitRecipe()
    encoder: EncoderRecipe
    augmentation: AugmentationRecipe = AugmentationRecipe()
    head: HeadRecipe = HeadRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if not self.corpora:
            raise ValueError("at least one [[corpora]] is needed")
        if max(self.encoder.pooled, default=0) > self.encoder.layers:
            raise ValueError(f"encoder.pooled {self.encoder.pooled} exceeds encoder.layers = {self.encoder.layers}")
        if self.encoder.finetune > self.encoder.layers:
            raise ValueError(
                f"encoder.finetune = {self.encoder.finetune} exceeds encoder.layers = {self.encoder.layers}"
            )
        return self


def read_recipe(path: Path) -> Recipe:
    """Read and validate a recipe.

    Raises:
        UsageError: the file cannot be read, or a key or value is not valid; names the key and the nearest valid one.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"cannot read recipe {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} is not valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        hint = nearest(str(first["loc"][-1]), _known_keys()) if first["type"] == "extra_forbidden" else ""
        raise UsageError(f"recipe {path}: {where or 'recipe'}: {first['msg']}{hint}") from None


def _known_keys() -> list[str]:
    sections = (CorpusRecipe, SplitRecipe, EncoderRecipe, AugmentationRecipe, HeadRecipe, ScheduleRecipe, Recipe)
    return [key for section in sections for key in section.model_fields]
