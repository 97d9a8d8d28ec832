"""The report on two models: UA of both, the gain with its interval, and what it means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

from matplotlib.figure import Figure

from calibrate.experiments.compare.comparison import Comparison
from calibrate.report import Note, Picture, Report, Table, points, rounded
from calibrate.report.cells import Cell

COLUMNS = ("corpus", "speakers", "clips", "UA A", "UA B", "gain, points", "p", "better : worse")
MEANING = "Gain: of B over A, mean over speakers, with its 95 % interval; better : worse: speakers"

Pair = tuple[float, float]
"""UA of A and of B."""


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
    axes.legend(title="a point a speaker")
