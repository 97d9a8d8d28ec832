"""A training recipe: one TOML file says which corpora, encoder, head and schedule make a model."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from calibrate.labels import EMOTIONS, LABELS
from calibrate.training.augment import Augmentation
from edge.errors import UsageError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


Section = TypeVar("Section", bound=BaseModel)
Decay = Annotated[float, Field(ge=0.01, le=5)]
Count = Annotated[int, Field(ge=1)]
Number = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


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
    """Last layers to train by ``[finetune]`` once the head has learned; 0 keeps the encoder frozen."""
    max_s: Annotated[float, Field(gt=0, le=30)] = 12.0
    """Longest input; the exported position table ends here."""


class AugmentationRecipe(_Section):
    """Copies of the training audio, see :class:`calibrate.training.augment.Augmentation`."""

    copies: Number = 3
    """Augmented copies beside the clean one; where the encoder learns, any number above 0 draws anew in every epoch."""
    gain_db: Weight = 12.0
    noise_probability: Probability = 0.5
    snr_db: Annotated[tuple[float, float], AfterValidator(_ascending)] = (5.0, 30.0)
    room_probability: Probability = 0.3
    decay_s: Annotated[tuple[Decay, Decay], AfterValidator(_ascending)] = (0.1, 0.5)
    telephone_probability: Probability = 0.15
    trim_probability: Probability = 0.7
    speed: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """0.1 is speed perturbation as usual: new pitch and formants, so new voices."""
    tempo: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    codec_probability: Probability = 0.0
    mask: Share = 0.0
    """SpecAugment: longest share of time and of the mel scale that a mask covers, two masks each."""

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
    """Optimisation of the head, on features of the frozen encoder."""

    epochs: Number = 30
    """0 leaves the head to ``[finetune]``, untrained."""
    batch: Count = 256
    """Utterances a step, over all processes together."""
    learning_rate: Positive = 1e-3
    encoder_learning_rate: Positive = 2e-5
    """Of the encoder's last layer, where it learns: speech encoders do by ``[finetune]``."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the encoder's learning rate from each layer to the one below."""
    weight_decay: Weight = 0.1
    warmup: Share = 0.05
    """Share of the steps in which the learning rate rises."""
    decay: Literal["cosine", "none"] = "cosine"
    """How the learning rate falls after that."""
    label_smoothing: Share = 0.0
    average: Share = 0.0
    """Decay a step of the moving average of the weights that is validated and kept; 0 keeps the last weights."""
    evaluate_every: Number = 0
    """Steps between evaluations on validation speakers; 0: once an epoch."""
    patience: Number = 0
    """Evaluations without a better loss, beyond which the learning rates fall to a tenth; 0: never."""
    stop_after: Number = 0
    """Evaluations without a better loss that end training, which keeps the best weights; 0: never."""
    mixup: Weight = 0.0
    """Both parameters of the beta distribution by which pairs of features are mixed (Zhang et al. 2018)."""
    adversarial: Weight = 0.0
    """Weight of telling speakers apart, by reversed gradients (Ganin & Lempitsky 2015)."""
    contrastive: Weight = 0.0
    """Weight of the supervised contrastive loss (Khosla et al. 2020)."""


class FinetuneRecipe(ScheduleRecipe):
    """Optimisation of the head and the last layers of the encoder together, after ``[schedule]``."""

    epochs: Count = 3
    batch: Count = 32
    learning_rate: Positive = 1e-4
    encoder_learning_rate: Positive = 2e-4
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    warmup: Share = 0.1
    label_smoothing: Share = 0.1
    average: Share = 0.99
    rank: Number = 8
    """Of the change to every matrix (LoRA, Hu et al. 2022); 0 trains whole layers."""
    front: bool = False
    """Train what is below the layers too, convolutions for one; needs ``encoder.finetune = encoder.layers``."""
    memory_gb: Weight = 4.0
    """Decoded audio that each process keeps, 35 hours at 4; what does not fit is decoded anew in every epoch."""
    augmentation: AugmentationRecipe = AugmentationRecipe(speed=0.1, tempo=0.1, codec_probability=0.1, mask=0.1)


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
    finetune: FinetuneRecipe = FinetuneRecipe()

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
        if self.finetune.front and 0 < self.encoder.finetune < self.encoder.layers:
            raise ValueError(f"finetune.front needs encoder.finetune = {self.encoder.layers}, all of encoder.layers")
        if not self.schedule.epochs and not self.encoder.finetune:
            raise ValueError("schedule.epochs = 0 trains nothing while encoder.finetune = 0")
        return self

    def with_finetune(self, layers: int) -> Recipe:
        """Return the recipe with as many layers to fine-tune; 0 is its frozen stage.

        Raises:
            UsageError: that does not fit the rest of the recipe.
        """
        described = self.model_dump()
        described["encoder"]["finetune"] = layers
        try:
            return Recipe.model_validate(described)
        except ValidationError as error:
            raise UsageError(f"fine-tuning {layers} layers: {error.errors()[0]['msg']}") from None

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
    """Read and validate a training recipe, see ``read_toml``."""
    return read_toml(path, Recipe)


def read_toml(path: Path, kind: type[Section]) -> Section:
    """Read and validate a recipe of some kind.

    Raises:
        UsageError: the file cannot be read, or a key or value is not valid; names the key and the nearest valid one.
    """
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"cannot read recipe {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} is not valid TOML: {error}") from None
    except ValidationError as error:
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        hint = nearest(str(first["loc"][-1]), _known_keys(kind)) if first["type"] == "extra_forbidden" else ""
        raise UsageError(f"recipe {path}: {where or 'recipe'}: {first['msg']}{hint}") from None


def _known_keys(kind: type[BaseModel]) -> list[str]:
    """Return the keys of a recipe and of its sections."""
    keys = list(kind.model_fields)
    for field in kind.model_fields.values():
        inner = get_args(field.annotation) or (field.annotation,)
        for section in inner:
            if isinstance(section, type) and issubclass(section, BaseModel):
                keys += _known_keys(section)
    return keys
