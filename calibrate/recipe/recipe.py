"""The recipe as a whole, and reading one."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from calibrate.corpora.labels import EMOTIONS, LABELS
from calibrate.recipe.material import CorpusRecipe, SoundsRecipe, ValueRecipe
from calibrate.recipe.pretraining import PretrainingRecipe, SpeakerPlace
from calibrate.recipe.sections import (
    AugmentationRecipe,
    EncoderRecipe,
    FinetuneRecipe,
    HeadRecipe,
    ScheduleRecipe,
    SplitRecipe,
    accepted,
)
from edge.errors import UsageError, nearest, one_of
from edge.records import Record
from edge.shipped import find_config
from edge.values import ValueRecord

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Kind = TypeVar("Kind", bound=BaseModel)


def known_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Validate labels: each is one of ``LABELS``, and none comes twice."""
    wrong = [
        f"label {label!r} is not one of {', '.join(LABELS)}{nearest(label, LABELS)}"
        for label in labels
        if label not in LABELS
    ]
    if len(set(labels)) < len(labels):
        wrong.append(f"labels {', '.join(labels)} name one twice")
    if wrong:
        raise ValueError("; ".join(wrong))
    return labels


class Recipe(Record):
    """Everything that makes a model, besides the folders."""

    name: str
    """Of the run and of the bundle."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of splits, augmentation and training: the same recipe makes the same model."""
    labels: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(known_labels)] = EMOTIONS
    """What the model tells apart, in the order of its answers; utterances of another emotion are left out."""
    values: tuple[ValueRecipe, ...] = ()
    """What the model estimates beside the labels."""
    corpora: tuple[CorpusRecipe, ...]
    sounds: SoundsRecipe | None = None
    """None: what is made of this takes whatever it hears for speech."""
    splits: SplitRecipe = SplitRecipe()
    encoder: EncoderRecipe
    augmentation: AugmentationRecipe = AugmentationRecipe()
    head: HeadRecipe = HeadRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    finetune: FinetuneRecipe = FinetuneRecipe()
    pretraining: PretrainingRecipe = PretrainingRecipe()

    @property
    def training_corpora(self) -> tuple[CorpusRecipe, ...]:
        """Those that may be trained on."""
        return tuple(corpus for corpus in self.corpora if corpus.role == "train")

    @property
    def value_records(self) -> tuple[ValueRecord, ...]:
        """The values as the manifest of a bundle names them."""
        return tuple(value.record for value in self.values)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        wrong, encoder, layers = [], self.encoder, self.encoder.layers
        if not self.training_corpora:
            wrong.append('at least one [[corpora]] is needed with role = "train"')
        names = [value.name for value in self.values]
        if len(set(names)) < len(names):
            wrong.append(f"[[values]] {', '.join(names)} name one twice")
        if names and self.head.speaker != "none":
            wrong.append("[[values]] need a head that is not told who speaks, head.speaker = 'none'")
        if max(encoder.pooled) > layers:
            wrong.append(f"encoder.pooled {encoder.pooled} exceeds encoder.layers = {layers}")
        if encoder.finetune > layers:
            wrong.append(f"encoder.finetune = {encoder.finetune} exceeds encoder.layers = {layers}")
        if encoder.finetune and self.head.kind == "logistic":
            wrong.append("encoder.finetune needs a head that learns by gradient, not head.kind = 'logistic'")
        if self.finetune.front and 0 < encoder.finetune < layers:
            wrong.append(f"finetune.front needs encoder.finetune = {layers}, all of encoder.layers")
        batches = [self.schedule.batch, self.finetune.batch] if encoder.finetune else [self.schedule.batch]
        if self.head.kind == "stack" and min(batches) < 2:
            wrong.append("head.kind = 'stack' normalises over the batch, which needs two utterances or more")
        if not self.schedule.epochs and not encoder.finetune:
            wrong.append("schedule.epochs = 0 trains nothing while encoder.finetune = 0")
        return accepted(self, wrong)

    def with_finetune(self, layers: int) -> Recipe:
        """Return the recipe with as many layers to fine-tune; 0 is its frozen stage.

        Raises:
            UsageError: that does not fit the rest of the recipe.
        """
        return self._changed({"encoder": {"finetune": layers}}, f"fine-tuning {layers} layers")

    def with_merge(self, merge: bool) -> Recipe:
        """Return the recipe with or without merging the encoder's tokens.

        Raises:
            UsageError: that does not fit the rest of the recipe.
        """
        return self._changed({"encoder": {"merge": merge}}, "merging tokens" if merge else "leaving tokens apart")

    def with_schedule(self, values: Mapping[str, float]) -> Recipe:
        """Return the recipe with these values in its schedule.

        Raises:
            UsageError: they do not fit the rest of the recipe.
        """
        return self._changed({"schedule": values}, ", ".join(f"{key} {value:g}" for key, value in values.items()))

    def with_pretraining(self, speakers: str | None, epochs: int | None) -> Recipe:
        """Return the recipe with another place of the speakers' embeddings, and as many epochs in every round.

        Raises:
            UsageError: there is no such place.
        """
        chosen: dict[str, Any] = {}
        if speakers is not None:
            chosen["speakers"] = one_of("--speakers", speakers, get_args(SpeakerPlace))
        if epochs is not None:
            rounds = self.pretraining.rounds
            chosen["rounds"] = tuple(each.model_copy(update={"epochs": epochs}).model_dump() for each in rounds)
        return self._changed({"pretraining": chosen}, "pre-training") if chosen else self

    def with_splits(self, file: str | None) -> Recipe:
        """Return the recipe with the splits of a file, relative to the data folder; None leaves it as it is."""
        return self if file is None else self._changed({"splits": {"file": file}}, f"--splits {file}")

    def with_head(self, name: str | None) -> Recipe:
        """Return the recipe with another head, its schedule and augmentation; None leaves it as it is.

        Args:
            name: of a file in ``configs/heads``, or a path to one like these.

        Raises:
            UsageError: there is no such file, or what is in it does not fit the rest of the recipe.
        """
        if name is None:
            return self
        path = find_config(name, "--head", "heads")
        return self._changed(read_toml(path, HeadFile).model_dump(), f"--head {name}")

    def _changed(self, sections: Mapping[str, Mapping[str, Any]], reason: str) -> Recipe:
        described = self.model_dump()
        for section, values in sections.items():
            described[section] |= values
        try:
            return Recipe.model_validate(described)
        except ValidationError as error:
            raise UsageError(f"{reason}: {_problems(error, ())}") from None

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


class HeadFile(Record):
    """A head of ``configs/heads`` with its hyper-parameters, to be laid over a recipe."""

    head: HeadRecipe
    schedule: ScheduleRecipe
    augmentation: AugmentationRecipe = AugmentationRecipe(copies=0)


def read_recipe(path: Path, head: str | None = None) -> Recipe:
    """Read and validate a training recipe, see ``read_toml``, and lay a head over it, see ``Recipe.with_head``."""
    return read_toml(path, Recipe).with_head(head)


def read_toml(path: Path, kind: type[Kind]) -> Kind:
    """Read and validate a recipe of some kind: a file, or the bare name of one that comes with affectd.

    Raises:
        UsageError: the file cannot be read, or a key or value is not valid; names the key and the nearest valid one.
    """
    path = find_config(path, "recipe")
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"cannot read recipe {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} is not valid TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"recipe {path}: {_problems(error, _known_keys(kind))}") from None


def _problems(error: ValidationError, keys: Collection[str]) -> str:
    """Return all that is wrong, unknown keys first; a key is not missing that an unknown one was meant to be."""
    found, meant = [], set()
    for each in sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden"):
        *above, key = each["loc"] or ("recipe",)
        where = ".".join(map(str, [*above, key]))
        if each["type"] == "extra_forbidden":
            hint = nearest(str(key), keys)
            meant |= {(*above, name) for name in keys if repr(name) in hint}
            found.append(f"{where}: {each['msg']}{hint}")
        elif each["type"] != "missing" or (*above, key) not in meant:
            found.append(f"{where}: {each['msg']}")
    return "; ".join(found)


def _known_keys(kind: type[BaseModel]) -> list[str]:
    """Return the keys of a recipe and of its sections."""
    keys = list(kind.model_fields)
    for field in kind.model_fields.values():
        inner = get_args(field.annotation) or (field.annotation,)
        for section in inner:
            if isinstance(section, type) and issubclass(section, BaseModel):
                keys += _known_keys(section)
    return keys
