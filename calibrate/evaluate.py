"""Evaluation: figures per corpus for a trained run or for a finished bundle, on speakers it never trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from calibrate.dataset import Part, Rows, read_parts, require_speakers
from calibrate.metrics import Figures, Probabilities, figures
from calibrate.progress import progress_bar
from calibrate.recipe import Recipe, read_recipe
from calibrate.run import RUN_NAME, Run, load_run
from calibrate.splits import split_named
from calibrate.training.features import encode, middle
from calibrate.workspace import Workspace
from edge.analyze import whole_file_waveform
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import MANIFEST_NAME, Bundle
from edge.errors import UsageError
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings

CHUNK = 64
RUN_BATCH = 16

Answer = Callable[[Sequence[Waveform]], Probabilities]
"""Utterances, each ``float32[samples]``, to ``float32[n, labels]``."""


@dataclass(frozen=True)
class OpenModel:
    """A run or a bundle, ready to answer."""

    answer: Answer
    recipe: Recipe
    """Its corpora and splits are to be evaluated on; its labels are the model's."""
    description: str
    """For the protocol."""
    speakers: frozenset[str]
    """Who was trained on, as far as the model tells."""


@dataclass(frozen=True)
class Evaluation:
    """How well a model recognises emotions."""

    figures: dict[str, Figures]
    """By corpus."""
    labels: tuple[str, ...]
    protocol: str
    """What was evaluated, on which speakers."""


def open_model(model: Path, recipe_path: Path | None, encoder: str | None, threads: int) -> OpenModel:
    """Open a run, or a bundle that then runs the device's own code.

    Raises:
        UsageError: the folder holds neither, or a bundle comes without a recipe.
    """
    if (model / MANIFEST_NAME).is_file():
        if recipe_path is None:
            raise UsageError("a bundle is evaluated with --recipe, which names the corpora and the splits")
        recognizer = Recognizer(Bundle.load(model), EncoderSettings(threads=threads))
        recognizer.load()
        manifest = recognizer.bundle.manifest
        recipe = read_recipe(recipe_path).model_copy(update={"labels": manifest.labels})
        what = f"bundle {model.name}, {manifest.encoder.precision}, {recognizer.encoder.provider}"
        return OpenModel(recognizer.probabilities, recipe, what, frozenset())
    if (model / RUN_NAME).is_file():
        run = load_run(model, encoder)
        recipe = read_recipe(recipe_path) if recipe_path else run.recipe
        recipe = recipe.model_copy(update={"labels": run.recipe.labels})
        return OpenModel(run_answer(run), recipe, f"run {model.name}, torch", frozenset(run.speakers))
    raise UsageError(f"{model}: holds neither {MANIFEST_NAME} (a bundle) nor {RUN_NAME} (a run)")


def run_answer(run: Run) -> Answer:
    """Return what a run answers to waveforms, through its torch model."""
    longest = round(run.recipe.encoder.max_s * SAMPLE_RATE_HZ)

    def answer(waveforms: Sequence[Waveform]) -> Probabilities:
        cut = [middle(waveform, longest) for waveform in waveforms]
        order = sorted(range(len(cut)), key=lambda row: len(cut[row]))
        logits = torch.empty(len(cut), len(run.recipe.labels))
        for start in range(0, len(cut), RUN_BATCH):
            rows = order[start : start + RUN_BATCH]
            pooled = torch.from_numpy(encode(run.encoder, [cut[row] for row in rows]))
            logits[rows] = run.logits(pooled.reshape(len(rows), len(run.encoder.pooled), -1))
        return np.asarray((logits / run.temperature).softmax(1).numpy())

    return answer


def evaluate_model(
    folder: Path, workspace: Workspace, split: str, recipe_path: Path | None = None, encoder: str | None = None
) -> Evaluation:
    """Evaluate a run, or a bundle, which runs the device's own code.

    Args:
        folder: of the run or bundle.
        workspace: data and cache.
        split: whose speakers to evaluate on.
        recipe_path: its corpora and splits are used; None: those of the run.
        encoder: replaces where a run's encoder is loaded from.

    Raises:
        UsageError: the folder holds neither, or a bundle comes without a recipe.
    """
    part_name = split_named(split)
    if (folder / MANIFEST_NAME).is_file():
        if recipe_path is None:
            raise UsageError("a bundle is evaluated with --recipe, which names the corpora and the splits")
        recipe = read_recipe(recipe_path)
        recognizer = Recognizer(Bundle.load(folder), EncoderSettings(threads=workspace.threads))
        recognizer.load()
        recipe = recipe.model_copy(update={"labels": recognizer.bundle.manifest.labels})
        part = require_speakers(read_parts(recipe, workspace.data), part_name)
        figures = evaluate_bundle(recognizer, part)
        seen = "" if split == "train" else ", never trained on if its training kept to this split"
        precision, provider = recognizer.bundle.manifest.encoder.precision, recognizer.encoder.provider
        what = f"bundle {folder.name}, {precision}, {provider}"
    elif (folder / RUN_NAME).is_file():
        run = load_run(folder, encoder)
        recipe = read_recipe(recipe_path) if recipe_path else run.recipe
        recipe = recipe.model_copy(update={"labels": run.recipe.labels})
        part = require_speakers(read_parts(recipe, workspace.data), part_name)
        figures = evaluate_run(run, part, workspace.cache)
        speakers = set(part.speakers.tolist())
        known = len(speakers.intersection(run.speakers))
        seen = f", {known} of {len(speakers)} trained on" if known else ", never trained on"
        what = f"run {folder.name}, torch{run.recipe.head.stranger}"
    else:
        raise UsageError(f"{folder}: holds neither {MANIFEST_NAME} (a bundle) nor {RUN_NAME} (a run)")
    protocol = f"{split} speakers of {recipe.splits.file or 'a seeded draw'}{seen}; what is spoken in each file; {what}"
    return Evaluation(figures, recipe.labels, protocol)


def evaluate_run(run: Run, part: Part, cache: Path) -> dict[str, Figures]:
    """Return figures per corpus for a run, through its torch model."""
    readable, probabilities = run.probabilities(part, run.source(cache))
    return by_corpus(readable, probabilities, run.recipe.labels)


def evaluate_bundle(recognizer: Recognizer, part: Part) -> dict[str, Figures]:
    """Return figures per corpus for a loaded bundle: what is spoken in each, through the device's code and graph."""
    answers = []
    with progress_bar() as progress:
        task = progress.add_task("evaluating", total=len(part.paths))
        for rows in chunks(len(part.paths)):
            answers.append(recognizer.probabilities([whole_file_waveform(part.paths[row]) for row in rows]))
            progress.advance(task, len(rows))
    return by_corpus(part, np.concatenate(answers), recognizer.bundle.manifest.labels)


def by_corpus(part: Part, probabilities: Probabilities, labels: tuple[str, ...]) -> dict[str, Figures]:
    """Evaluate each corpus of a part on its own."""
    return {
        str(corpus): figures_of(part.select(rows), probabilities[rows], labels)
        for corpus in dict.fromkeys(part.corpora.tolist())
        if (rows := part.corpora == corpus).any()
    }


def figures_of(part: Part, probabilities: Probabilities, labels: tuple[str, ...]) -> Figures:
    """Evaluate a part as one set of utterances."""
    genders = [utterance.gender for utterance in part.utterances]
    return figures(probabilities, part.labels, part.speakers.tolist(), labels, genders)


def chunks(count: int) -> Iterator[Rows]:
    """Yield the rows below ``count`` in stretches of ``CHUNK``."""
    for start in range(0, count, CHUNK):
        yield np.arange(start, min(start + CHUNK, count))
