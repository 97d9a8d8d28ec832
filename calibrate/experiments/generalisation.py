"""Generalisation across corpora: train on all corpora of a recipe but one, hear that one, every way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from calibrate.dataset import Part, read_parts
from calibrate.experiments.crossvalidation import Retrainer
from calibrate.metrics import unweighted_accuracy
from calibrate.progress import progress_bar
from calibrate.recipe import read_recipe
from calibrate.splits import SPLITS
from edge.errors import UsageError

NAME = "generalisation"
COLUMNS = ("left out", "taught by", "speakers", "UA", "UA, taught", "test speakers", "UA", "UA, taught")
PROTOCOL = (
    "for each corpus in turn, trained on the train speakers of all others, with the others' validation speakers as "
    "validation; tested on the train and validation speakers of the corpus left out, by which choices may be made, and "
    "apart from these on its fixed test speakers; what is spoken in each file; no adaptation; any of the recipe's "
    "labels may be answered; UA is the mean recall over the labels that the corpus left out has; taught: over those of "
    "them that the others have too; mean and standard deviation over seeds of training"
)


@dataclass(frozen=True)
class Unheard:
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
    others: Unheard
    """Its train and validation speakers."""
    test: Unheard
    """Its fixed test speakers."""


def measure_generalisation(
    recipe_path: Path,
    data: Path,
    out: Path,
    *,
    encoder: str | None,
    seeds: int,
    cache: Path,
    threads: int,
    json_only: bool,
) -> None:
    """Leave each corpus out in turn, write the report to ``out`` and show it.

    Raises:
        UsageError: the recipe has one corpus only.
    """
    torch.set_num_threads(threads)
    recipe = read_recipe(recipe_path)
    parts = read_parts(recipe, data)
    trainer = Retrainer(recipe, encoder, cache, [part for split in SPLITS if (part := parts[split]).utterances])
    corpora = list(dict.fromkeys(trainer.whole.corpora.tolist()))
    if len(corpora) < 2:
        raise UsageError(f"the recipe has no corpus but {corpora[0]}; leaving one out takes at least two")
    roles = {utterance.path: split for split in SPLITS for utterance in parts[split].utterances}
    found = []
    with progress_bar() as progress:
        for corpus in progress.track(corpora, description="leaving out"):
            found.append(leave_out(trainer, corpus, roles, range(recipe.seed, recipe.seed + seeds)))
    protocol = f"{recipe.name}: {PROTOCOL} (seeds {recipe.seed} to {recipe.seed + seeds - 1}); splits: " + (
        recipe.splits.file or "a seeded draw"
    )
    write_generalisation(out, found, protocol)
    if json_only:
        print(json.dumps(as_json(found, protocol)))
        return
    table = Table(*COLUMNS, title=f"{recipe.name}: corpora left out")
    for row in rows(found):
        table.add_row(*row)
    Console().print(table)
    print(f"report written to {out}")


def leave_out(trainer: Retrainer, corpus: str, roles: Mapping[Path, str], seeds: Sequence[int]) -> LeftOut:
    """Train without a corpus and hear it, once a seed.

    Args:
        trainer: of the recipe.
        corpus: to leave out.
        roles: path to part of the split.
        seeds: of the head and of the draws.
    """
    whole = trainer.whole
    role = np.array([roles[path] for path in whole.paths])
    mine = whole.corpora == corpus
    train, validation = (whole.select(~mine & (role == split)) for split in ("train", "validation"))
    if not train.utterances:
        raise UsageError(f"without {corpus} no speaker of the corpora is in the train split")
    tests = [whole.select(mine & (role != "test")), whole.select(mine & (role == "test"))]
    taught = np.unique(train.labels)
    results: list[list[tuple[float, float]]] = [[], []]
    for seed in seeds:
        run, source = trainer.train(train, validation if validation.utterances else None, seed)
        for part, result in zip(tests, results, strict=True):
            if part.utterances:
                readable, probabilities = run.probabilities(part, source)
                result.append(_both(readable, probabilities.argmax(axis=1), taught))
    others, test = (
        Unheard(len(np.unique(part.speakers)), len(part.labels), [ua for ua, _ in result], [ua for _, ua in result])
        for part, result in zip(tests, results, strict=True)
    )
    labels = trainer.recipe.labels
    untaught = [labels[label] for label in np.setdiff1d(whole.labels[mine], taught)]
    return LeftOut(corpus, list(dict.fromkeys(train.corpora.tolist())), untaught, others, test)


def _both(part: Part, predicted: np.ndarray, taught: np.ndarray) -> tuple[float, float]:
    """Return UA over all labels of a part, and over those taught."""
    known = np.isin(part.labels, taught)
    over_taught = unweighted_accuracy(predicted[known], part.labels[known]) if known.any() else float("nan")
    return unweighted_accuracy(predicted, part.labels), over_taught


def rows(found: Sequence[LeftOut]) -> list[list[str]]:
    """Return the cells under ``COLUMNS``, and a last row of means over the corpora."""
    cells = []
    for row in found:
        heard = [
            cell
            for unheard in (row.others, row.test)
            for cell in (str(unheard.speakers), spread(unheard.ua), spread(unheard.taught_ua))
        ]
        cells.append([row.corpus, ", ".join(row.taught_by), *heard])
    means = [
        _mean_of([getattr(getattr(row, which), figure) for row in found])
        for which in ("others", "test")
        for figure in ("ua", "taught_ua")
    ]
    return [*cells, ["mean", "", "", *means[:2], "", *means[2:]]]


def spread(values: Sequence[float]) -> str:
    """Return ``mean ± standard deviation``, a dash for nothing."""
    if not values:
        return "-"
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def markdown(found: Sequence[LeftOut], protocol: str) -> str:
    """Return the report as Markdown."""
    lines = ["# Corpora left out", "", f"Protocol: {protocol}.", "", "| " + " | ".join(COLUMNS) + " |"]
    lines += ["|---" * len(COLUMNS) + "|", *("| " + " | ".join(row) + " |" for row in rows(found))]
    lines += [
        f"\n{row.corpus}: nobody else has {', '.join(row.untaught)}, which count as 0 in UA and not in UA, taught."
        for row in found
        if row.untaught
    ]
    return "\n".join(lines) + "\n"


def as_json(found: Sequence[LeftOut], protocol: str) -> dict[str, Any]:
    """Return all figures, a value a seed."""
    described = {"protocol": protocol, "corpora": [asdict(row) for row in found]}
    rounded: dict[str, Any] = json.loads(json.dumps(described), parse_float=lambda text: round(float(text), 4))
    return rounded


def write_generalisation(out: Path, found: Sequence[LeftOut], protocol: str) -> None:
    """Write ``generalisation.md`` and ``.json`` to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.md").write_text(markdown(found, protocol), encoding="utf-8")
    (out / f"{NAME}.json").write_text(json.dumps(as_json(found, protocol), indent=2) + "\n", encoding="utf-8")


def _mean_of(corpora: Sequence[Sequence[float]]) -> str:
    """Return the mean over corpora, and its deviation over seeds; of the corpora that have figures."""
    heard = [values for values in corpora if values]
    return spread([float(np.mean(values)) for values in zip(*heard, strict=True)])
