"""The tables and the plot of a measurement of robustness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure as Canvas

from calibrate.bootstrap import Interval
from calibrate.experiments.robustness.conditions import (
    CLEAN,
    GAINS_DB,
    HUM,
    NOISES,
    RUMBLE,
    SNR_DB,
    gain_name,
    noise_name,
)
from calibrate.experiments.robustness.recordings import SILENCES_MS, silence_name
from calibrate.report import Picture, Report, Table, legend_below, points, rounded
from edge.arrays import Doubles

MEAN = "mean"
"""Stands for the mean over the corpora."""
ASIDE = (
    HUM,
    RUMBLE,
    *(gain_name(gain_db) for gain_db in GAINS_DB),
    *(silence_name(silence_ms) for silence_ms in SILENCES_MS),
)
"""What a microphone, its wiring or a setting change in the same room: a table of its own, and no part of the mean."""


@dataclass(frozen=True)
class Figures:
    """How well a model recognises the emotions of one corpus under one condition."""

    ua: float
    """Within the boundaries of the clean recording."""
    chain_ua: float
    """Within the boundaries that the segmenter finds, what it misses counting as wrong."""
    missed: float
    """Share of the utterances in which the segmenter finds nobody."""
    utterances: int
    interval: Interval | None = None
    """Of ``ua``, over speakers; None for one speaker."""
    chain_interval: Interval | None = None


FiguresTable = Mapping[str, Mapping[str, Figures]]
"""Corpus to condition to figures."""


def robustness_report(table: FiguresTable, protocol: str) -> Report:
    """Return the report that is ``robustness.md``, ``.json`` and ``.png``."""
    whole = with_mean(table)
    under = [name for name in whole[MEAN] if name not in ASIDE]
    apart = [CLEAN, *(name for name in ASIDE if name in whole[MEAN])]
    means = {corpus: float(np.mean([row[name].ua for name in under])) for corpus, row in whole.items()}
    hearing = [*_rows(whole, under), [f"mean of the {len(under)}", *(f"{ua:.3f}" for ua in means.values())]]
    columns = ("condition", *whole)
    return Report(
        ("robustness.md", "robustness.json"),
        "Robustness",
        protocol,
        {
            "corpora": {corpus: _content_of(row, under) for corpus, row in whole.items()},
            "mean_ua": rounded(means),
            "apart": {corpus: _content_of(row, apart) for corpus, row in whole.items()},
        },
        [
            Table(columns, hearing, "hearing: UA (points lost)"),
            Table(columns, _rows(whole, under, chain=True), "whole chain"),
            Table(columns, _rows(whole, apart), "hum, level and silence, hearing"),
            Table(columns, _rows(whole, apart, chain=True), "hum, level and silence, whole chain"),
            Picture("robustness.png", "UA by condition", partial(_draw, table=table), (4.2 * len(table), 7)),
        ],
    )


def _rows(whole: FiguresTable, under: Sequence[str], chain: bool = False) -> list[list[str]]:
    """Return UA and points lost by condition, of the whole chain with what it misses."""
    rows = []
    for name in under:
        cells = []
        for row in whole.values():
            found, clean = row[name], row[CLEAN]
            if chain:
                lost = points(found.chain_ua - clean.chain_ua)
                cells.append(f"{found.chain_ua:.3f} ({lost}), {found.missed:.1%} missed")
            else:
                cells.append(f"{found.ua:.3f} ({points(found.ua - clean.ua)})")
        rows.append([name, *cells])
    return rows


def _content_of(row: Mapping[str, Figures], under: Sequence[str]) -> dict[str, object]:
    """Return condition to figures, with drops against the clean recording."""
    clean = row[CLEAN]
    return rounded(
        {
            name: {
                "utterances": found.utterances,
                "ua": found.ua,
                "interval": found.interval,
                "drop": clean.ua - found.ua,
                "chain_ua": found.chain_ua,
                "chain_interval": found.chain_interval,
                "chain_drop": clean.chain_ua - found.chain_ua,
                "missed": found.missed,
            }
            for name, found in ((name, row[name]) for name in under)
        }
    )


def with_mean(table: FiguresTable) -> dict[str, dict[str, Figures]]:
    """Return the table with the mean over its corpora, each weighing the same."""
    rows = {corpus: dict(row) for corpus, row in table.items()}
    conditions = next(iter(rows.values()))
    return rows | {MEAN: {name: _mean([row[name] for row in rows.values()]) for name in conditions}}


def _mean(corpora: Sequence[Figures]) -> Figures:
    return Figures(
        ua=float(np.mean([found.ua for found in corpora])),
        chain_ua=float(np.mean([found.chain_ua for found in corpora])),
        missed=float(np.mean([found.missed for found in corpora])),
        utterances=sum(found.utterances for found in corpora),
    )


def _draw(figure: Canvas, table: FiguresTable) -> None:
    """Draw UA against the noise, and as bars under the other conditions: a column a corpus."""
    axes = figure.subplots(2, len(table), squeeze=False, sharey=True)
    noisy = {noise_name(colour, snr_db) for colour in NOISES for snr_db in SNR_DB}
    for column, (corpus, row) in enumerate(table.items()):
        noise, rest = axes[:, column]
        for index, colour in enumerate(NOISES):
            series = [row[CLEAN], *(row[noise_name(colour, snr_db)] for snr_db in SNR_DB)]
            # Beside each other, so that no interval covers another.
            places = np.arange(len(series)) + 0.06 * (index - (len(NOISES) - 1) / 2)
            ua, bars = _with_bars([(found.ua, found.interval) for found in series])
            noise.errorbar(places, ua, bars, fmt=f"C{index}.-", elinewidth=0.7, label=colour)
            noise.plot(places, [found.chain_ua for found in series], f"C{index}.:")
        noise.set_xticks(range(len(SNR_DB) + 1), [CLEAN, *(f"{snr_db} dB" for snr_db in SNR_DB)])
        noise.set_title(corpus)
        others = [name for name in row if name not in noisy and name not in ASIDE]
        left, right = np.arange(len(others)) - 0.2, np.arange(len(others)) + 0.2
        ua, bars = _with_bars([(row[name].ua, row[name].interval) for name in others])
        rest.bar(left, ua, 0.4, yerr=bars, ecolor="0.3", label="hearing")
        ua, bars = _with_bars([(row[name].chain_ua, row[name].chain_interval) for name in others])
        rest.bar(right, ua, 0.4, yerr=bars, ecolor="0.3", label="whole chain", hatch="..", alpha=0.5)
        rest.set_xticks(range(len(others)), others, rotation=30, ha="right")
    axes[0][0].set_ylim(0, 1)
    axes[0][0].set_ylabel("UA, dotted: whole chain")
    axes[1][0].set_ylabel("UA, bars: 95 % over speakers")
    legend_below(figure, axes[:, 0])


def _with_bars(found: Sequence[tuple[float, Interval | None]]) -> tuple[Doubles, Doubles]:
    """Return values, and how far their intervals reach below and above, ``float64[2, n]``; one speaker has none."""
    values = np.array([value for value, _ in found])
    bounds = np.array([interval or (value, value) for value, interval in found]).T
    return values, np.maximum([values - bounds[0], bounds[1] - values], 0)
