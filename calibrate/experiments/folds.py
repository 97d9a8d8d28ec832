"""Published protocols on one corpus: a recipe trained anew for every fold, alone or along with the other corpora."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from calibrate.corpora.labels import LABELS
from calibrate.dataset import Part, read_parts
from calibrate.evaluate import figures_of
from calibrate.experiments.retraining import Retrainer
from calibrate.experiments.selection import complete, corpus_names, join_parts, only, parts_around
from calibrate.metrics import Figures, Probabilities
from calibrate.progress import progress_bar
from calibrate.recipe import Recipe, read_recipe
from calibrate.report import Note, Report, Table, deviation, figures_report, rounded, span, summary
from calibrate.report.cells import Cell
from calibrate.splits import PROTOCOLS, Fold, Protocol, protocol_folds
from calibrate.workspace import Workspace
from edge.errors import UsageError, one_of

Training = Literal["alone", "joint"]
TRAININGS: tuple[Training, ...] = get_args(Training)
BOTH = "both"
RECIPE_LABELS, ALL_LABELS = "recipe", "all"
EMOTIONS = tuple(label for label in LABELS if label not in ("other", "no agreement"))
MEANING: dict[Protocol, str] = {
    "random": "60/20/20 % of each speaker's utterances, THE SAME SPEAKERS ON ALL SIDES",
    "speaker": "unseen speakers, genders balanced",
    "emobox": "by EmoBox's rule (Ma et al. 2024), drawn anew",
    "emosuperb": "unseen speakers, EMO-SUPERB's blocks of actors (Wu et al. 2024)",
    "loso": "one unseen speaker a fold",
}
FIXED: tuple[Protocol, ...] = ("loso", "emosuperb")
"""Their folds are the same whatever the seed."""
COLUMNS = ("training", "folds", "UA", "±", "worst fold", "WA", "macro F1", "UA, pooled", "95 %")
FOLD_COLUMNS = ("training", "seed", "fold", "held out", "genders", "clips", "trained", "both", "UA")
FOLD_CAPTION = (
    "trained: speakers trained on, of all corpora; both: of the speakers held out, those who are also trained on"
)
MOST_NAMES = 6
"""Held-out speakers that a table names."""

Draw = tuple[int, Sequence[Fold]]
"""A seed and the folds that it draws."""


@dataclass(frozen=True)
class FoldResult:
    """What one fold came to."""

    training: Training
    seed: int
    fold: int
    held_out: list[str]
    """Speakers of the test."""
    genders: dict[str, int]
    """How many of these are ``f``, ``m`` or ``unknown``."""
    trained_on: int
    """Speakers that trained, of whatever corpus."""
    shared: int
    """Speakers of the test that also trained."""
    figures: Figures


@dataclass(frozen=True)
class FoldsResult:
    """All folds, and all held-out utterances taken together."""

    folds: list[FoldResult]
    pooled: dict[Training, Figures]

    def of(self, training: Training) -> list[Figures]:
        """Return the figures of the folds of one way of training."""
        return [fold.figures for fold in self.folds if fold.training == training]


def measure_folds(
    workspace: Workspace,
    recipe_path: Path,
    *,
    split: str,
    corpus: str | None,
    training: str,
    labels: str,
    folds: int,
    seeds: int,
    encoder: str | None,
    head: str | None,
) -> Report:
    """Train a recipe for every fold of a protocol on one corpus.

    Args:
        split: a protocol of ``calibrate.splits``.
        corpus: that is split; None: the only one of the recipe.
        training: alone (on that corpus), joint (along with the others), both.
        labels: see ``with_labels``.
        folds: of the protocol ``speaker``.
        seeds: draws of the folds and of the training.
    """
    protocol = one_of("--split", split, PROTOCOLS)
    trainings = TRAININGS if training == BOTH else (one_of("--training", training, TRAININGS, BOTH),)
    recipe = read_recipe(recipe_path, head)
    names = corpus_names(read_parts(recipe, workspace.data), corpus)
    if corpus is None and len(names) > 1:
        raise UsageError(f"--corpus says which of {', '.join(names)} is split")
    name = corpus or names[0]
    recipe = with_labels(recipe, workspace.data, name, labels)
    trainer = Retrainer(recipe, encoder, workspace.cache, parts_around(recipe, workspace.data, name))
    mine = trainer.whole.corpora == name
    if mine.all():
        trainings = ("alone",)
    tested, others = trainer.whole.select(mine), trainer.whole.select(~mine)
    used = range(recipe.seed, recipe.seed + seeds)
    draws = [(seed, complete(protocol_folds(tested.utterances, protocol, folds, seed))) for seed in used]
    result = run_folds(trainer, tested, others, draws, trainings)
    named = recipe.name if head is None else f"{recipe.name} with head {head}"
    described = (
        f"recipe {named} on {name}, {protocol}: {MEANING[protocol]}; {len(draws[0][1])} folds, trained anew; "
        f"seeds {used[0]} to {used[-1]}, of {'the training' if protocol in FIXED else 'the folds and the training'}; "
        f"{len(recipe.labels)} labels: {', '.join(recipe.labels)}; alone: trained on {name} only; joint: along with "
        f"the train and validation speakers of the other corpora; every speaker of {name} who is not held out trains, "
        "also the fixed test speakers; nothing is chosen by those held out; what is spoken in each file; no adaptation"
        f"{recipe.head.stranger}"
    )
    return folds_report(result, name, recipe.labels, f"{name}, {protocol}", described)


def run_folds(
    trainer: Retrainer, tested: Part, others: Part, draws: Sequence[Draw], trainings: Sequence[Training]
) -> FoldsResult:
    """Train and test on every fold.

    Args:
        trainer: of the recipe.
        tested: all utterances of the corpus.
        others: what trains along, when a training is joint.
        draws: seeds and their folds.
        trainings: alone, joint or both.
    """
    labels = trainer.recipe.labels
    rounds = [(training, seed, *fold) for training in trainings for seed, folds in draws for fold in enumerate(folds)]
    results: list[FoldResult] = []
    answered: dict[Training, list[tuple[Part, Probabilities]]] = {training: [] for training in trainings}
    with progress_bar() as progress:
        for training, seed, number, fold in progress.track(rounds, description="folds"):
            train = only(tested, fold.train)
            if training == "joint":
                train = join_parts([train, others])
            run, source = trainer.train(train, only(tested, fold.validation) if fold.validation else None, seed)
            part, probabilities = run.probabilities(only(tested, fold.test), source)
            answered[training].append((part, probabilities))
            results.append(
                FoldResult(
                    training=training,
                    seed=seed,
                    fold=number + 1,
                    held_out=sorted({utterance.speaker for utterance in fold.test}),
                    genders=gender_balance(part),
                    trained_on=len(np.unique(train.speakers)),
                    shared=len(fold.shared_speakers),
                    figures=figures_of(part, probabilities, labels),
                )
            )
    pooled = {}
    for training, found in answered.items():
        together = join_parts([part for part, _ in found])
        pooled[training] = figures_of(together, np.concatenate([rows for _, rows in found]), labels)
    return FoldsResult(results, pooled)


def gender_balance(part: Part) -> dict[str, int]:
    """Return how many speakers are ``f``, ``m`` or ``unknown``."""
    genders = {utterance.speaker: utterance.gender or "unknown" for utterance in part.utterances}
    return dict(sorted(Counter(genders.values()).items()))


def folds_report(result: FoldsResult, corpus: str, labels: Sequence[str], title: str, protocol: str) -> Report:
    """Return the report that is ``folds.md`` and ``.json``, and for each training a report of the pooled figures."""
    notes = [
        f"Pooled, with figures per label, speaker and gender: [{training}]({training}/report.md)."
        for training in result.pooled
    ]
    notes.append("± is the standard deviation over folds; pooled takes all held-out utterances together.")
    notes += [f"![confusion matrix, {training}]({training}/confusion-{corpus}.png)" for training in result.pooled]
    parts = {}
    for training, figures in result.pooled.items():
        pooled = f"{training}, all held-out utterances of all folds and seeds together; {protocol}"
        parts[str(training)] = figures_report({corpus: figures}, labels, pooled)
    return Report(
        ("folds.md", "folds.json"),
        title,
        protocol,
        content_of(result),
        [
            Table(COLUMNS, rows(result)),
            *(Note(text, medium="file") for text in notes),
            Table(FOLD_COLUMNS, [_fold_row(fold) for fold in result.folds], "Folds", FOLD_CAPTION),
        ],
        parts=parts,
    )


def content_of(result: FoldsResult) -> dict[str, object]:
    """Return every fold, and the summary of each training, rounded to four digits."""
    trainings = {}
    for training, figures in result.pooled.items():
        ua = [fold.ua for fold in result.of(training)]
        means = rounded({"ua": float(np.mean(ua)), "ua_deviation": deviation(ua)})
        trainings[training] = means | {"pooled": summary(figures)}
    folds = [asdict(fold) | {"figures": summary(fold.figures)} for fold in result.folds]
    return {"trainings": trainings, "folds": folds}


def rows(result: FoldsResult) -> list[Sequence[Cell]]:
    """Return the cells under ``COLUMNS``."""
    cells: list[Sequence[Cell]] = []
    for training, pooled in result.pooled.items():
        folds = result.of(training)
        ua = [fold.ua for fold in folds]
        means = (float(np.mean([fold.wa for fold in folds])), float(np.mean([fold.macro_f1 for fold in folds])))
        whole = (pooled.ua, span(pooled.ua_interval))
        cells.append((training, len(ua), float(np.mean(ua)), deviation(ua), min(ua), *means, *whole))
    return cells


def _fold_row(fold: FoldResult) -> Sequence[Cell]:
    short = [speaker.rpartition("-")[2] for speaker in fold.held_out]
    names = " ".join(short[:MOST_NAMES]) + (f" … ({len(short)})" if len(short) > MOST_NAMES else "")
    genders = " ".join(f"{count} {gender}" for gender, count in fold.genders.items())
    figures = fold.figures
    return (
        fold.training, fold.seed, fold.fold, names, genders, figures.utterances, fold.trained_on, fold.shared,
        figures.ua,
    )  # fmt: skip


def with_labels(recipe: Recipe, data: Path, corpus: str, labels: str) -> Recipe:
    """Return the recipe with its own labels (``recipe``), all that the corpus has (``all``), or those named.

    Raises:
        UsageError: a name is no label.
    """
    if labels == RECIPE_LABELS:
        return recipe
    if labels == ALL_LABELS:
        whole = join_parts(list(read_parts(recipe.model_copy(update={"labels": EMOTIONS}), data).values()))
        found = np.unique(whole.labels[whole.corpora == corpus])
        return recipe.model_copy(update={"labels": tuple(EMOTIONS[label] for label in found)})
    names = tuple(dict.fromkeys(name.strip() for name in labels.split(",")))
    for name in names:
        one_of("label", name, EMOTIONS, RECIPE_LABELS, ALL_LABELS)
    if len(names) < 2:
        raise UsageError(f"labels {labels!r}: at least two are needed")
    return recipe.model_copy(update={"labels": names})
