"""A training recipe: one TOML file says which corpora, encoder, head and schedule make a model."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from calibrate.augment import Augmentation
from calibrate.labels import EMOTIONS, LABELS
from edge.errors import UsageError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


Decay = Annotated[float, Field(ge=0.01, le=5)]


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"the lower limit {limits[0]} exceeds the upper one {limits[1]}")
    return limits


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


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
    pooled: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    """Layers whose mean and standard deviation are features; 0 is the input of the first."""
    finetune: Annotated[int, Field(ge=0)] = 0
    """Last layers to train along with the head; 0 keeps the encoder frozen and its features cached."""
    max_s: Annotated[float, Field(gt=0, le=30)] = 12.0
    """Longest input; the exported position table ends here."""


class AugmentationRecipe(_Section):
    """Copies of the training audio, see :class:`calibrate.augment.Augmentation`."""

    copies: Annotated[int, Field(ge=0)] = 3
    """Augmented copies beside the clean one; when fine-tuning any number above 0 draws anew in every epoch."""
    gain_db: Annotated[float, Field(ge=0)] = 12.0
    noise_probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    snr_db: Annotated[tuple[float, float], AfterValidator(_ascending)] = (5.0, 30.0)
    room_probability: Annotated[float, Field(ge=0, le=1)] = 0.3
    decay_s: Annotated[tuple[Decay, Decay], AfterValidator(_ascending)] = (0.1, 0.5)
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
    regulars: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the loss for the head of enrolled people, which learns along (dense); 0: it is fitted afterwards."""

    @model_validator(mode="after")
    def _learns(self) -> HeadRecipe:
        if self.regulars and self.kind == "linear":
            raise ValueError("regulars needs kind = 'dense': a linear head has no layer that could learn along")
        return self


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
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    labels: Annotated[tuple[str, ...], Field(min_length=2)] = EMOTIONS
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
        for label in self.labels:
            if label not in LABELS:
                raise ValueError(f"label {label!r} is not one of {', '.join(LABELS)}{nearest(label, LABELS)}")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels {', '.join(self.labels)} name one twice")
        if max(self.encoder.pooled) > self.encoder.layers:
            raise ValueError(f"encoder.pooled {self.encoder.pooled} exceeds encoder.layers = {self.encoder.layers}")
        if self.encoder.finetune > self.encoder.layers:
            raise ValueError(
                f"encoder.finetune = {self.encoder.finetune} exceeds encoder.layers = {self.encoder.layers}"
            )
        return self

    def leave_out(self, names: Collection[str]) -> Recipe:
        """Return the recipe without these corpora.

        Raises:
            UsageError: the recipe has no such corpus.
        """
        known = [corpus.name for corpus in self.corpora]
        for name in names:
            if name not in known:
                raise UsageError(f"--without {name}: the recipe has {', '.join(known)}{nearest(name, known)}")
        return self.model_copy(update={"corpora": tuple(corpus for corpus in self.corpora if corpus.name not in names)})


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
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        hint = nearest(str(first["loc"][-1]), _known_keys()) if first["type"] == "extra_forbidden" else ""
        raise UsageError(f"recipe {path}: {where or 'recipe'}: {first['msg']}{hint}") from None


def _known_keys() -> list[str]:
    sections = (CorpusRecipe, SplitRecipe, EncoderRecipe, AugmentationRecipe, HeadRecipe, ScheduleRecipe, Recipe)
    return [key for section in sections for key in section.model_fields]
