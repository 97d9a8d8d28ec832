"""Answers of two trained models, or of heads on two encoders, to the same utterances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from calibrate.dataset import read_parts, require_speakers
from calibrate.experiments.compare.comparison import Comparison, compare
from calibrate.experiments.retraining import Retrainer
from calibrate.experiments.selection import held_out_folds
from calibrate.recipe import Recipe, read_recipe
from calibrate.report import Note, Picture, Report, Table, legend_below, points, rounded
from calibrate.report.cells import Cell
from calibrate.run import RUN_NAME
from calibrate.trained import Answers, is_trained, open_trained, protocol_of
from calibrate.workspace import Workspace
from edge.bundle import MANIFEST_NAME
from edge.errors import UsageError

COLUMNS = ("corpus", "speakers", "clips", "UA A", "UA B", "gain, points", "p", "better : worse")
MEANING = "Gain: of B over A, mean over speakers, with its 95 % interval; better : worse: speakers"

Pair = tuple[float, float]
"""UA of A and of B."""
BothAnswers = tuple[Answers, Answers, tuple[str, str], str]
"""Of A and of B, their names, and the protocol."""


def compare_models(
    workspace: Workspace,
    a: str,
    b: str,
    *,
    recipe_path: Path | None,
    split: str,
    encoders: tuple[str | None, str | None],
    folds: int,
) -> Report:
    """Compare two runs or bundles, or two encoders, with a paired significance test over speakers.

    Args:
        a: folder of a run or bundle, or hub name or folder of an encoder.
        b: the same of what it is compared with.
        encoders: replace where the runs' encoders are loaded from.
        folds: of encoders, each speaker being held out once.
    """
    trained = [is_trained(Path(name)) for name in (a, b)]
    if all(trained):
        first, second, names, protocol = _of_models(workspace, a, b, recipe_path, split, encoders)
    elif any(trained):
        raise UsageError(
            f"{a} and {b}: one is trained, the other an encoder; compare two runs or bundles, or two encoders"
        )
    elif recipe_path is None:
        raise UsageError(
            f"{a}: holds neither {MANIFEST_NAME} (a bundle) nor {RUN_NAME} (a run); comparing encoders needs --recipe, "
            "which names the corpora and the head"
        )
    else:
        first, second, names, protocol = _of_encoders(workspace, a, b, read_recipe(recipe_path), folds)
    return comparison_report(*compare(first, second), names, protocol)


def _of_models(
    workspace: Workspace,
    a: str,
    b: str,
    recipe_path: Path | None,
    split: str,
    encoders: tuple[str | None, str | None],
) -> BothAnswers:
    first, second = (
        open_trained(workspace, Path(name), encoder) for name, encoder in zip((a, b), encoders, strict=True)
    )
    if set(first.labels) != set(second.labels):
        labels = " against ".join(", ".join(model.labels) for model in (first, second))
        raise UsageError(f"the models answer with different labels, so their UA cannot be compared: {labels}")
    recipe = first.recipe(recipe_path)
    part = require_speakers(read_parts(recipe, workspace.data), split)
    ours, theirs = first.answer(part), second.answer(part)
    columns = [second.labels.index(label) for label in first.labels]
    protocol = protocol_of((first, second), recipe, part, split)
    return ours, Answers(theirs.part, theirs.probabilities[:, columns]), (first.name, second.name), protocol


def _of_encoders(workspace: Workspace, a: str, b: str, recipe: Recipe, folds: int) -> BothAnswers:
    first, second = (held_out_answers(workspace, recipe, name, folds) for name in (a, b))
    protocol = (
        f"{folds} folds over the training and validation speakers of {recipe.splits.origin}, each heard by a head of "
        f"recipe {recipe.name} that was trained without them; what is spoken in each file; torch"
    )
    return first, second, (a.rstrip("/").rpartition("/")[2], b.rstrip("/").rpartition("/")[2]), protocol


def held_out_answers(workspace: Workspace, recipe: Recipe, encoder: str, folds: int) -> Answers:
    """Return answers to all training and validation utterances, each by a head trained without their speaker.

    Raises:
        UsageError: the recipe fine-tunes its encoder, or a corpus has fewer speakers than folds.
    """
    if recipe.encoder.finetune:
        raise UsageError(
            "comparing encoders trains heads on frozen ones: encoder.finetune must be 0; compare runs instead"
        )
    parts = read_parts(recipe, workspace.data)
    trainer = Retrainer(recipe, encoder, workspace.cache, [parts["train"], parts["validation"]])
    whole = trainer.whole
    probabilities = np.empty((len(whole.labels), len(recipe.labels)), np.float32)
    for held in held_out_folds(whole, folds, recipe.seed):
        test = whole.select(held)
        run, source = trainer.train(whole.select(~held), test, recipe.seed)
        probabilities[held] = run.probabilities(test, source)[1]
    return Answers(whole, probabilities)


def comparison_report(
    found: Mapping[str, Comparison], by_speaker: Mapping[str, Pair], names: tuple[str, str], protocol: str
) -> Report:
    """Return the report that is ``comparison.md``, ``.json`` and ``.png``.

    Args:
        found: by corpus.
        by_speaker: UA of each speaker.
        names: of A and B.
        protocol: how the figures came about.
    """
    comparisons = {name: asdict(row) for name, row in found.items()}
    figures = rounded({"comparisons": comparisons, "speaker_ua": dict(by_speaker)})
    draw = partial(_draw, by_speaker=by_speaker, names=names)
    speakers = [(speaker, *pair) for speaker, pair in sorted(by_speaker.items())]
    return Report(
        ("comparison.md", "comparison.json"),
        f"A: {names[0]}; B: {names[1]}",
        protocol,
        {"a": names[0], "b": names[1], **figures},
        [
            Table(COLUMNS, [_row(name, row) for name, row in found.items()], caption=MEANING),
            *(Note(reading(name, row)) for name, row in found.items()),
            Note(f"Protocol: {protocol}.", medium="terminal"),
            Picture("comparison.png", "UA by speaker", draw, (5, 4.6)),
            Table(("speaker", "UA A", "UA B"), speakers, medium="file"),
        ],
    )


def _row(name: str, row: Comparison) -> tuple[Cell, ...]:
    """Return the cells under ``COLUMNS``."""
    p = f"{row.p:.4f}" if row.p >= 1e-4 else f"{row.p:.1e}"
    gain = points(row.gain, row.low, row.high)
    return (name, row.speakers, row.utterances, *row.ua, gain, p, f"{row.better} : {row.worse}")


def reading(name: str, row: Comparison) -> str:
    """Return what a row says, in a sentence."""
    least = 2.0 ** (1 - row.speakers)
    if row.p < 0.05:
        return f"{name}: {'B' if row.gain > 0 else 'A'} is better for speakers like these (p = {row.p:.2g})."
    if least > 0.05:
        return f"{name}: {row.speakers} speakers cannot show a difference: p cannot be below {least:.2g}."
    return f"{name}: no difference is shown (p = {row.p:.2g})."


def _draw(figure: Figure, by_speaker: Mapping[str, Pair], names: tuple[str, str]) -> None:
    """Draw UA of B against UA of A, a point a speaker."""
    corpora = list(dict.fromkeys(speaker.rpartition("-")[0] for speaker in by_speaker))
    axes = figure.subplots()
    least = math.floor(10 * min(min(pair) for pair in by_speaker.values())) / 10
    axes.plot((least, 1), (least, 1), color="0.6", linewidth=1)
    for corpus in corpora:
        pairs = [pair for speaker, pair in by_speaker.items() if speaker.rpartition("-")[0] == corpus]
        axes.scatter([a for a, _ in pairs], [b for _, b in pairs], label=corpus, s=22)
    axes.set_xlabel(f"UA of A: {names[0]}")
    axes.set_ylabel(f"UA of B: {names[1]}")
    legend_below(figure, [axes], "a point a speaker")
