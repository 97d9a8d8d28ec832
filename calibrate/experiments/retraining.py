"""Training a recipe anew for each choice of speakers, on features that the frozen encoder computes once."""

from __future__ import annotations

import copy
import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from calibrate.dataset import Part, Rows, require_labels
from calibrate.experiments.selection import join_parts
from calibrate.recipe import Recipe
from calibrate.run import Run, build_run
from calibrate.speakers.factor_model import device_head, embed_part, fit_population
from calibrate.splits import make_splits
from calibrate.streams import DeviceModel
from calibrate.train import finetune_run
from calibrate.training.clip_mfcc import ClipVectors, clip_mfcc
from calibrate.training.heads import Classifier
from calibrate.training.readout import fit_readout
from calibrate.training.regression import Examples, fit_logistic
from calibrate.training.sources import BatchFeatures, FeatureSource
from calibrate.training.trainer import train_classifier
from calibrate.value_targets import learnable, value_targets
from edge.arrays import Matrix
from edge.errors import UsageError

HELD_BACK = (0.875, 0.125, 0.0)
"""Shares of the speakers that train, validate and test, where training stops by validation."""
LOGGED = 10
"""Where it does not, one of so many training utterances is validated on."""


class JoinedFeatures:
    """Features of several parts as if they were one; each part keeps its cache.

    What is spoken in them is embedded at once, whole files and their augmented copies of a part when first wanted.
    """

    learns: nn.Module | None = None

    def __init__(self, source: FeatureSource, parts: Sequence[Part]) -> None:
        read = [source.clean(part, spoken_only=True) for part in parts]
        self.parts = [part for part, _ in read]
        self._spoken = [features for _, features in read]
        self._whole = functools.cache(lambda index: source.clean(self.parts[index])[1])
        self._draw = functools.cache(lambda index: source.augmented(self.parts[index]))
        self._copies = functools.cache(lambda index: source.copies(self.parts[index]))
        self._starts = np.cumsum([0, *(len(part.paths) for part in self.parts)])
        self._rows = {path: row for row, path in enumerate(path for part in self.parts for path in part.paths)}

    @property
    def whole(self) -> Part:
        """All readable utterances."""
        return join_parts(self.parts)

    def clean(self, part: Part, spoken_only: bool = False) -> tuple[Part, Tensor]:
        """See ``FeatureSource``."""
        tables = self._spoken.__getitem__ if spoken_only else self._whole
        return part, self._gather(self._of(part), lambda index, rows: tables(index)[rows])

    def augmented(self, part: Part) -> BatchFeatures:
        """See ``FeatureSource``."""
        mine = self._of(part)
        return lambda rows, rng: self._gather(mine[rows], lambda index, within: self._draw(index)(within, rng))

    def copies(self, part: Part) -> list[Tensor]:
        """See ``FeatureSource``."""
        mine = self._of(part)

        def gathered(copy: int) -> Tensor:
            return self._gather(mine, lambda index, within: self._copies(index)[copy][within])

        return [gathered(copy) for copy in range(len(self._copies(0)))]

    def _gather(self, wanted: Rows, read: Callable[[int, Rows], Tensor]) -> Tensor:
        gathered = torch.empty(len(wanted), *self._spoken[0].shape[1:])
        for index, (start, end) in enumerate(pairwise(self._starts)):
            here = np.flatnonzero((start <= wanted) & (wanted < end))
            if len(here):
                gathered[here] = read(index, wanted[here] - start)
        return gathered

    def _of(self, part: Part) -> Rows:
        return np.array([self._rows[path] for path in part.paths], np.int64)


@dataclass(frozen=True)
class Retrained:
    """A run trained anew, and the same as the device applies it, at temperature 1."""

    run: Run
    source: FeatureSource
    model: DeviceModel

    def embed(self, part: Part) -> tuple[Part, Matrix]:
        """Return the readable utterances of a part and their embeddings ``float32[n, dim]``."""
        return embed_part(self.run, part, self.source)


class Retrainer:
    """Trains a recipe anew for each choice of speakers; features of the frozen encoder are computed once.

    Args:
        recipe: to train by.
        encoder: over the recipe's.
        cache: folder for features of the frozen encoder.
        parts: all utterances that may be trained or tested on; in some of them may be nobody.
    """

    def __init__(self, recipe: Recipe, encoder: str | None, cache: Path, parts: Sequence[Part]) -> None:
        self.recipe = recipe
        self.cache = cache
        self._run = build_run(recipe, encoder or recipe.encoder.name)
        self._frozen = JoinedFeatures(self._run.source(cache), [part for part in parts if part.paths])
        self._scratch = tempfile.TemporaryDirectory(prefix="affectd-")
        self.whole = self._frozen.whole

    @functools.cached_property
    def clips(self) -> ClipVectors:
        """Mean MFCC of all utterances, for heads that read them."""
        return clip_mfcc(self.whole.paths, self.cache, self.recipe.head.speaker_dim)

    @property
    def encoder_name(self) -> str:
        """Hub name or folder of the encoder."""
        return self._run.encoder_name

    @property
    def log(self) -> Path:
        """``log.csv`` of the last training."""
        return Path(self._scratch.name, "log.csv")

    def with_recipe(self, recipe: Recipe) -> Retrainer:
        """Return a trainer of another recipe, of the same encoder and augmentation, on the same features."""
        other = copy.copy(self)
        other.recipe = recipe
        return other

    def train(self, train: Part, validation: Part | None, seed: int) -> tuple[Run, FeatureSource]:
        """Return a run trained on a part, temperature 1, and where the features of its encoder come from.

        Without a validation part of its own, see ``set_aside``.

        Raises:
            UsageError: the part has one label only, or nobody to set aside.
        """
        require_labels(train, self.recipe.labels)
        recipe, scratch = self.recipe, Path(self._scratch.name)
        at_once = recipe.head.kind == "logistic"
        if validation is None:
            train, validation = (train, train) if at_once else set_aside(recipe, train, seed)
        torch.manual_seed(seed)
        layers, width = self._frozen.clean(validation, spoken_only=True)[1].shape[1:]
        speakers = np.unique(train.speakers).tolist()
        classifier = Classifier(recipe.head, layers, width, len(recipe.labels), speakers)
        run = replace(self._run, recipe=recipe, classifier=classifier, speakers=speakers)
        if recipe.head.speaker == "mfcc":
            run.measure_speakers(train, self.clips)
        if at_once:
            fit_logistic(run.classifier, Examples.read(self._frozen, train, recipe), recipe)
            return run, self._frozen
        parts = (train, validation)
        if recipe.schedule.epochs:
            train_classifier(run.classifier, self._frozen, parts, recipe.schedule, scratch, seed=seed)
        if not recipe.encoder.finetune:
            return run, self._frozen
        run.encoder = copy.deepcopy(self._run.encoder)
        finetune_run(run, parts, scratch, seed=seed)
        return run, run.source(scratch)

    def train_for_device(self, train: Part, seed: int) -> Retrained:
        """Return a run trained on a part, see ``train``, with the population of those who trained.

        It estimates those values of the recipe that the part tells something about.
        """
        run, source = self.train(train, None, seed)
        part, embeddings = embed_part(run, train, source)
        values = learnable(part, self.recipe)
        targets = value_targets(part, self.recipe.labels, values)
        if values:
            run.readout = fit_readout([embeddings], part, self.recipe.model_copy(update={"values": values}))
        head = device_head(run)
        population = fit_population(embeddings, part, self.recipe.labels, head, targets)
        return Retrained(run, source, DeviceModel(head, population))


def set_aside(recipe: Recipe, train: Part, seed: int) -> tuple[Part, Part]:
    """Split a training part into what trains and what is validated on.

    An eighth of the speakers where the recipe's schedule depends on validation; otherwise nobody, and a tenth of the
    training utterances stands in, for the log.
    """
    schedules = [recipe.schedule, recipe.finetune] if recipe.encoder.finetune else [recipe.schedule]
    if not any(schedule.patience or schedule.stop_after for schedule in schedules):
        return train, train.select(np.arange(len(train.paths)) % LOGGED == 0)
    held: set[str] = set()
    for corpus in np.unique(train.corpora):
        mine = train.select(train.corpora == corpus)
        if len(np.unique(mine.speakers)) > 1:
            splits = make_splits(mine.utterances, HELD_BACK, seed)
            held |= {speaker for speaker, split in splits.items() if split == "validation"}
    if not held:
        raise UsageError("the recipe's schedule needs validation speakers, and every corpus has one speaker only")
    aside = np.isin(train.speakers, list(held))
    return train.select(~aside), train.select(aside)
