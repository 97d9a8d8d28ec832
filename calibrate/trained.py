"""A trained model, run or bundle, behind one interface: what it recognises in files and in samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from calibrate.dataset import Part, Rows
from calibrate.encoders.batches import central_part, encode
from calibrate.metrics import Probabilities
from calibrate.progress import progress_bar
from calibrate.recipe import Recipe, ValueRecipe, read_recipe
from calibrate.run import RUN_NAME, Run, load_run
from calibrate.training.sources import FeatureSource
from calibrate.workspace import Workspace
from edge.analyze import whole_file_waveform
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import MANIFEST_NAME, Bundle
from edge.errors import UsageError
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings
from edge.values import ValueRecord

CHUNK = 64
"""Files read at a time."""
RUN_BATCH = 16


@dataclass(frozen=True)
class Answers:
    """Probabilities that a model gives to the utterances it could read."""

    part: Part
    probabilities: Probabilities
    """``float32[utterances, labels]``, calibrated by the model itself."""
    values: Matrix | None = None
    """``float32[utterances, values]``; None: the model has none."""


class TrainedModel(ABC):
    """A run or a bundle.

    Args:
        name: what it is, for protocols: ``run default, torch``.
        labels: in the order of its probabilities.
        temperature: that its probabilities are scaled by.
        own_recipe: that it was trained by, where that is recorded.
        speakers: who was trained on; empty where that is not recorded.
        values: that it estimates, in order.
    """

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        temperature: float,
        own_recipe: Recipe | None = None,
        speakers: Iterable[str] = (),
        values: Sequence[ValueRecord] = (),
    ) -> None:
        self.values = tuple(map(ValueRecipe.of, values))
        self.name, self.labels, self.temperature = name, labels, temperature
        self.own_recipe, self.speakers = own_recipe, frozenset(speakers)

    def recipe(self, path: Path | None) -> Recipe:
        """Return the corpora and splits to evaluate on, its own where no path is given, with this model's labels and
        values.

        Raises:
            UsageError: no path is given, and the model has no recipe.
        """
        recipe = read_recipe(path) if path else self.own_recipe
        if recipe is None:
            raise UsageError("a bundle is evaluated with --recipe, which names the corpora and the splits")
        return recipe.model_copy(update={"labels": self.labels, "values": self.values})

    def unseen(self, split: str) -> str:
        """Return what a protocol may claim of the speakers of a split, none of whom is among ``speakers``."""
        if self.own_recipe:
            return ", never trained on" if self.speakers else ""
        return "" if split == "train" else ", never trained on if its training kept to this split"

    @abstractmethod
    def answer(self, part: Part) -> Answers:
        """Return probabilities, and values if it has any, for what is spoken in each file of a part."""

    @abstractmethod
    def probabilities(self, waveforms: Sequence[Waveform]) -> Probabilities:
        """Return ``float32[n, labels]`` for utterances, each ``float32[samples]`` at 16 kHz."""


class TrainedRun(TrainedModel):
    """A run, through torch; files that cannot be read are left out."""

    def __init__(self, name: str, run: Run, cache: Path) -> None:
        name = f"run {name}, torch{run.recipe.head.stranger}"
        super().__init__(name, run.recipe.labels, run.temperature, run.recipe, run.speakers, run.recipe.value_records)
        self._run, self._cache = run, cache

    def answer(self, part: Part) -> Answers:
        """See ``TrainedModel``."""
        return answer_by(self._run, part, self._run.source(self._cache))

    def probabilities(self, waveforms: Sequence[Waveform]) -> Probabilities:
        """See ``TrainedModel``."""
        run, longest = self._run, round(self._run.recipe.encoder.max_s * SAMPLE_RATE_HZ)
        cut = [central_part(waveform, longest) for waveform in waveforms]
        order = sorted(range(len(cut)), key=lambda row: len(cut[row]))
        logits = torch.empty(len(cut), len(self.labels))
        for start in range(0, len(cut), RUN_BATCH):
            rows = order[start : start + RUN_BATCH]
            pooled = torch.from_numpy(encode(run.encoder, [cut[row] for row in rows]))
            logits[rows] = run.logits(pooled.reshape(len(rows), len(run.encoder.pooled), -1))
        return np.asarray((logits / run.temperature).softmax(1).numpy())


class TrainedBundle(TrainedModel):
    """A bundle, through the device's own code and graph; a file that cannot be read is an error."""

    def __init__(self, recognizer: Recognizer) -> None:
        bundle = recognizer.bundle
        precision, provider = bundle.manifest.encoder.precision, recognizer.encoder.provider
        name = f"bundle {bundle.folder.name}, {precision}, {provider}"
        super().__init__(name, bundle.manifest.labels, bundle.head.temperature, values=bundle.manifest.values)
        self._recognizer = recognizer

    def answer(self, part: Part) -> Answers:
        """See ``TrainedModel``."""
        head = self._recognizer.bundle.head
        embeddings = []
        with progress_bar() as progress:
            task = progress.add_task("evaluating", total=len(part.paths))
            for rows in chunks(len(part.paths)):
                embeddings.append(self._recognizer.embeddings([whole_file_waveform(part.paths[row]) for row in rows]))
                progress.advance(task, len(rows))
        found = np.concatenate(embeddings)
        return Answers(part, head.probabilities(found), head.values.estimate(found) if head.values else None)

    def probabilities(self, waveforms: Sequence[Waveform]) -> Probabilities:
        """See ``TrainedModel``."""
        return self._recognizer.probabilities(waveforms)


def answer_by(run: Run, part: Part, source: FeatureSource) -> Answers:
    """Return a run's answers to the readable utterances of a part."""
    part, features = source.clean(part, spoken_only=True)
    shares = (run.logits(features, part) / run.temperature).softmax(1).numpy()
    return Answers(part, shares, run.readout.estimate(run.embed(features)) if run.readout else None)


def is_trained(folder: Path) -> bool:
    """Return whether a folder holds a run or a bundle."""
    return (folder / MANIFEST_NAME).is_file() or (folder / RUN_NAME).is_file()


def open_trained(workspace: Workspace, folder: Path, encoder: str | None = None) -> TrainedModel:
    """Load a run or a bundle.

    Args:
        workspace: with the cache of a run's features, and the threads of a bundle's sessions.
        folder: of either.
        encoder: replaces where a run's encoder is loaded from.

    Raises:
        UsageError: the folder holds neither.
    """
    if (folder / MANIFEST_NAME).is_file():
        recognizer = Recognizer(Bundle.load(folder), EncoderSettings(threads=workspace.threads))
        recognizer.load()
        return TrainedBundle(recognizer)
    if (folder / RUN_NAME).is_file():
        return TrainedRun(folder.name, load_run(folder, encoder), workspace.cache)
    raise UsageError(f"{folder}: holds neither {MANIFEST_NAME} (a bundle) nor {RUN_NAME} (a run)")


def protocol_of(models: Sequence[TrainedModel], recipe: Recipe, part: Part, split: str) -> str:
    """Return what a report says of how its figures came about: on whom, what was evaluated, by which models."""
    speakers = set(part.speakers.tolist())
    seen = ""
    for model in models:
        known = len(speakers.intersection(model.speakers))
        by = f" by {model.name}" if len(models) > 1 else ""
        seen += f", {known} of {len(speakers)} trained on{by}" if known else ""
    claims = {model.unseen(split) for model in models}
    if not seen and len(claims) == 1:
        seen = claims.pop()
    names = " against ".join(model.name for model in models)
    return f"{split} speakers of {recipe.splits.origin}{seen}; what is spoken in each file; {names}"


def chunks(count: int) -> Iterator[Rows]:
    """Yield the rows below ``count`` in stretches of ``CHUNK``."""
    for start in range(0, count, CHUNK):
        yield np.arange(start, min(start + CHUNK, count))
