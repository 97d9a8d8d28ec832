"""What a trained model answers: a run or a bundle behind one interface, for the reports that compare and calibrate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from calibrate.dataset import Part
from calibrate.evaluate import chunks
from calibrate.metrics import Probabilities
from calibrate.progress import progress_bar
from calibrate.recipe import Recipe, read_recipe
from calibrate.run import RUN_NAME, Run, load_run
from edge.analyze import whole_file_waveform
from edge.bundle import MANIFEST_NAME, Bundle
from edge.errors import UsageError
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings


@dataclass(frozen=True)
class Answers:
    """Probabilities that a model gives to utterances it could read."""

    part: Part
    probabilities: Probabilities
    """``float32[utterances, labels]``, calibrated by the model itself."""


class Model(Protocol):
    """A trained model."""

    name: str
    """What it is, for protocols: ``run default, torch``."""
    labels: tuple[str, ...]
    speakers: Collection[str]
    """Who was trained on, as far as the model tells."""
    temperature: float

    def recipe(self, path: Path | None) -> Recipe:
        """Return the corpora and splits to evaluate on, with this model's labels.

        Raises:
            UsageError: no recipe is given, and the model has none.
        """

    def answer(self, part: Part) -> Answers:
        """Return probabilities for what is spoken in each file of a part."""


class RunModel:
    """A training run, through torch."""

    def __init__(self, folder: Path, run: Run, cache: Path) -> None:
        self.name, self.labels = f"run {folder.name}, torch", run.recipe.labels
        self.speakers: Collection[str] = set(run.speakers)
        self.temperature = run.temperature
        self._run, self._cache = run, cache

    def recipe(self, path: Path | None) -> Recipe:
        """See ``Model``; a run knows its own."""
        recipe = read_recipe(path) if path else self._run.recipe
        return recipe.model_copy(update={"labels": self.labels})

    def answer(self, part: Part) -> Answers:
        """See ``Model``."""
        return Answers(*self._run.probabilities(part, self._run.source(self._cache)))


class BundleModel:
    """A bundle, through the device's own code and graph."""

    def __init__(self, recognizer: Recognizer) -> None:
        manifest = recognizer.bundle.manifest
        provider = recognizer.encoder.provider
        self.name = f"bundle {recognizer.bundle.folder.name}, {manifest.encoder.precision}, {provider}"
        self.labels, self.temperature = manifest.labels, recognizer.bundle.head.temperature
        self.speakers: Collection[str] = ()
        self._recognizer = recognizer

    def recipe(self, path: Path | None) -> Recipe:
        """See ``Model``."""
        if path is None:
            raise UsageError("a bundle is evaluated with --recipe, which names the corpora and the splits")
        return read_recipe(path).model_copy(update={"labels": self.labels})

    def answer(self, part: Part) -> Answers:
        """See ``Model``; a file that cannot be read is an error."""
        answers = []
        with progress_bar() as progress:
            task = progress.add_task("evaluating", total=len(part.paths))
            for rows in chunks(len(part.paths)):
                answers.append(self._recognizer.probabilities([whole_file_waveform(part.paths[row]) for row in rows]))
                progress.advance(task, len(rows))
        return Answers(part, np.concatenate(answers))


def is_model(folder: Path) -> bool:
    """Tell whether a folder holds a run or a bundle."""
    return (folder / MANIFEST_NAME).is_file() or (folder / RUN_NAME).is_file()


def load_model(folder: Path, encoder: str | None, cache: Path, threads: int) -> Model:
    """Load a run or a bundle.

    Args:
        folder: of either.
        encoder: replaces where a run's encoder is loaded from.
        cache: of features of a run's frozen encoder.
        threads: of a bundle's sessions.

    Raises:
        UsageError: the folder holds neither.
    """
    if (folder / MANIFEST_NAME).is_file():
        recognizer = Recognizer(Bundle.load(folder), EncoderSettings(threads=threads))
        recognizer.load()
        return BundleModel(recognizer)
    if (folder / RUN_NAME).is_file():
        return RunModel(folder, load_run(folder, encoder), cache)
    raise UsageError(f"{folder}: holds neither {MANIFEST_NAME} (a bundle) nor {RUN_NAME} (a run)")


def protocol_of(models: Collection[Model], recipe: Recipe, part: Part, split: str) -> str:
    """Return what a report says of how its figures came about."""
    speakers = set(part.speakers.tolist())
    seen = ""
    for model in models:
        known = len(speakers.intersection(model.speakers))
        seen += f", {known} of {len(speakers)} trained on by {model.name}" if known else ""
    never = ", never trained on" if all(model.speakers for model in models) and not seen else ""
    names = " against ".join(model.name for model in models)
    where = recipe.splits.file or "a seeded draw"
    return f"{split} speakers of {where}{seen or never}; what is spoken in each file; {names}"
