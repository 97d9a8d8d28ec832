"""Generalisation across corpora: train on all corpora of a recipe but one, and evaluate on that one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from calibrate.dataset import Part, Rows, read_parts
from calibrate.experiments.retraining import Retrainer
from calibrate.experiments.selection import split_of
from calibrate.metrics import unweighted_accuracy
from calibrate.progress import progress_bar
from calibrate.recipe import read_recipe
from calibrate.report import Note, Report, Table, rounded, spread
from calibrate.splits import Split
from calibrate.workspace import Workspace
from edge.errors import UsageError

COLUMNS = ("left out", "taught by", "speakers", "UA", "UA, taught", "test speakers", "UA", "UA, taught")
PROTOCOL = (
    "for each corpus in turn, trained on the train speakers of all others, with the others' validation speakers as "
    "validation; tested on the train and validation speakers of the corpus left out, by which choices may be made, and "
    "apart from these on its fixed test speakers; what is spoken in each file; no adaptation; any of the recipe's "
    "labels may be answered; UA is the mean recall over the labels that the corpus left out has; taught: over those of "
    "them that the others have too; mean and standard deviation over seeds of training"
)


@dataclass(frozen=True)
class Outcome:
    """What one set of speakers of a corpus left out came to, a value a seed."""

    speakers: int
    utterances: int
    ua: list[float]
    """Over the labels of the corpus."""
    taught_ua: list[float]
    """Over those that the training has too; not a number where it has none."""


@dataclass(frozen=True)
class LeftOut:
    """One corpus left out."""

    corpus: str
    taught_by: list[str]
    untaught: list[str]
    """Labels of the corpus that nobody trained on."""
    others: Outcome
    """Its train and validation speakers."""
    test: Outcome
    """Its fixed test speakers."""


def measure_generalisation(workspace: Workspace, recipe_path: Path, *, encoder: str | None, seeds: int) -> Report:
    """Leave each corpus of a recipe out in turn, and train so many times each.

    Raises:
        UsageError: the recipe has one corpus only.
    """
    recipe = read_recipe(recipe_path)
    parts = read_parts(recipe, workspace.data)
    trainer = Retrainer(recipe, encoder, workspace.cache, [part for part in parts.values() if part.utterances])
    corpora = list(dict.fromkeys(trainer.whole.corpora.tolist()))
    if len(corpora) < 2:
        raise UsageError(f"the recipe has no corpus but {corpora[0]}; leaving one out takes at least two")
    used = range(recipe.seed, recipe.seed + seeds)
    with progress_bar() as progress:
        tracked = progress.track(corpora, description="leaving out")
        found = [leave_out(trainer, corpus, split_of(parts), used) for corpus in tracked]
    protocol = f"{recipe.name}: {PROTOCOL} (seeds {used[0]} to {used[-1]}); splits: {recipe.splits.origin}"
    return generalisation_report(found, f"{recipe.name}: corpora left out", protocol)


def leave_out(trainer: Retrainer, corpus: str, splits: Mapping[Path, Split], seeds: Sequence[int]) -> LeftOut:
    """Train without a corpus and evaluate on it, once a seed.

    Args:
        trainer: of the recipe.
        corpus: to leave out.
        splits: of each file.
        seeds: of the head and of the draws.
    """
    whole = trainer.whole
    split = np.array([splits[path] for path in whole.paths])
    mine = whole.corpora == corpus
    train, validation = (whole.select(~mine & (split == name)) for name in ("train", "validation"))
    if not train.utterances:
        raise UsageError(f"without {corpus} no speaker of the corpora is in the train split")
    tests = [whole.select(mine & (split != "test")), whole.select(mine & (split == "test"))]
    taught = np.unique(train.labels)
    results: list[list[tuple[float, float]]] = [[], []]
    for seed in seeds:
        run, source = trainer.train(train, validation if validation.utterances else None, seed)
        for part, result in zip(tests, results, strict=True):
            if part.utterances:
                readable, probabilities = run.probabilities(part, source)
                result.append(_both_ua(readable, probabilities.argmax(axis=1), taught))
    others, test = (
        Outcome(len(np.unique(part.speakers)), len(part.labels), [ua for ua, _ in result], [ua for _, ua in result])
        for part, result in zip(tests, results, strict=True)
    )
    labels = trainer.recipe.labels
    untaught = [labels[label] for label in np.setdiff1d(whole.labels[mine], taught)]
    return LeftOut(corpus, list(dict.fromkeys(train.corpora.tolist())), untaught, others, test)


def _both_ua(part: Part, predicted: Rows, taught: Rows) -> tuple[float, float]:
    """Return UA over all labels of a part, and over those taught."""
    known = np.isin(part.labels, taught)
    over_taught = unweighted_accuracy(predicted[known], part.labels[known]) if known.any() else float("nan")
    return unweighted_accuracy(predicted, part.labels), over_taught


def generalisation_report(found: Sequence[LeftOut], title: str, protocol: str) -> Report:
    """Return the report that is ``generalisation.md`` and ``.json``."""
    notes = [
        Note(
            f"{row.corpus}: nobody else has {', '.join(row.untaught)}, which count as 0 in UA and not in UA, taught.",
            medium="file",
        )
        for row in found
        if row.untaught
    ]
    content = rounded({"corpora": [asdict(row) for row in found]})
    files = ("generalisation.md", "generalisation.json")
    return Report(files, title, protocol, content, (Table(COLUMNS, rows(found)), *notes))


def rows(found: Sequence[LeftOut]) -> list[list[str]]:
    """Return the cells under ``COLUMNS``, and a last row of means over the corpora."""
    cells = []
    for row in found:
        figures = [(str(set_.speakers), spread(set_.ua), spread(set_.taught_ua)) for set_ in (row.others, row.test)]
        cells.append([row.corpus, ", ".join(row.taught_by), *figures[0], *figures[1]])
    others = [_mean_of([row.others.ua for row in found]), _mean_of([row.others.taught_ua for row in found])]
    test = [_mean_of([row.test.ua for row in found]), _mean_of([row.test.taught_ua for row in found])]
    return [*cells, ["mean", "", "", *others, "", *test]]


def _mean_of(corpora: Sequence[Sequence[float]]) -> str:
    """Return the mean over corpora, and its deviation over seeds; of the corpora that have figures."""
    known = [values for values in corpora if values]
    return spread([float(np.mean(values)) for values in zip(*known, strict=True)])
