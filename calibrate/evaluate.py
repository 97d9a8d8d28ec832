"""Evaluation: figures per corpus for a trained run or for a finished bundle, on speakers it never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibrate.dataset import Part, read_parts, require_speakers
from calibrate.metrics import Figures, Probabilities, ValueFigures, figures, value_figures
from calibrate.recipe import ValueRecipe
from calibrate.run import Run
from calibrate.splits import split_named
from calibrate.trained import Answers, TrainedBundle, open_trained, protocol_of
from calibrate.value_targets import value_targets
from calibrate.workspace import Workspace
from edge.recognizer import Recognizer

TOGETHER = "all corpora"
"""Of a value that several corpora have."""
ValuesByCorpus = dict[str, dict[str, ValueFigures]]
"""Corpus to value to its figures."""


@dataclass(frozen=True)
class Evaluation:
    """How well a model recognises emotions."""

    figures: dict[str, Figures]
    """By corpus."""
    values: ValuesByCorpus
    labels: tuple[str, ...]
    protocol: str
    """What was evaluated, on which speakers."""


def evaluate_model(
    workspace: Workspace, folder: Path, split: str, recipe_path: Path | None = None, encoder: str | None = None
) -> Evaluation:
    """Evaluate a run, or a bundle, which runs the device's own code.

    Args:
        workspace: data, cache and threads.
        folder: of the run or bundle.
        split: whose speakers to evaluate on.
        recipe_path: its corpora and splits are used; None: those of the run.
        encoder: replaces where a run's encoder is loaded from.

    Raises:
        UsageError: the folder holds neither, a bundle comes without a recipe, or there is nobody to evaluate on.
    """
    chosen = split_named(split)
    model = open_trained(workspace, folder, encoder)
    recipe = model.recipe(recipe_path)
    part = require_speakers(read_parts(recipe, workspace.data), chosen)
    answers = model.answer(part)
    found = by_corpus(answers.part, answers.probabilities, model.labels)
    values = values_by_corpus(answers, model.labels, model.values)
    return Evaluation(found, values, model.labels, protocol_of([model], recipe, part, chosen))


def evaluate_run(run: Run, part: Part, cache: Path) -> dict[str, Figures]:
    """Return figures per corpus for a run, through its torch model."""
    return by_corpus(*run.probabilities(part, run.source(cache)), run.recipe.labels)


def evaluate_bundle(recognizer: Recognizer, part: Part) -> dict[str, Figures]:
    """Return figures per corpus for a loaded bundle: what is spoken in each, through the device's code and graph."""
    answers = TrainedBundle(recognizer).answer(part)
    return by_corpus(answers.part, answers.probabilities, recognizer.bundle.manifest.labels)


def by_corpus(part: Part, probabilities: Probabilities, labels: tuple[str, ...]) -> dict[str, Figures]:
    """Evaluate each corpus of a part on its own."""
    return {
        str(corpus): figures_of(part.select(rows), probabilities[rows], labels)
        for corpus in dict.fromkeys(part.corpora.tolist())
        if (rows := part.corpora == corpus).any()
    }


def values_by_corpus(answers: Answers, labels: Sequence[str], values: Sequence[ValueRecipe]) -> ValuesByCorpus:
    """Evaluate values on each corpus that has them, and where several have one on all together."""
    if answers.values is None:
        return {}
    part = answers.part
    targets = value_targets(part, labels, values)
    rows = {str(corpus): part.corpora == corpus for corpus in dict.fromkeys(part.corpora.tolist())}
    found: dict[str, dict[str, ValueFigures]] = {}
    for column, value in enumerate(values):
        known = ~np.isnan(targets[:, column])
        having = {corpus: mine & known for corpus, mine in rows.items() if (mine & known).any()}
        if len(having) > 1:
            having[TOGETHER] = known
        for corpus, mine in having.items():
            estimated, true = answers.values[mine, column].astype(np.float64), targets[mine, column]
            figures_ = value_figures(estimated, true, part.speakers[mine], value.record.origin)
            found.setdefault(corpus, {})[value.name] = figures_
    return found


def figures_of(part: Part, probabilities: Probabilities, labels: tuple[str, ...]) -> Figures:
    """Evaluate a part as one set of utterances."""
    genders = [utterance.gender for utterance in part.utterances]
    return figures(probabilities, part.labels, part.speakers.tolist(), labels, genders)
