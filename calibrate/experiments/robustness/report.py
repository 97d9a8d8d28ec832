"""The report on robustness: UA per corpus and condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure as Canvas

from calibrate.experiments.robustness.conditions import CLEAN, NOISES, SNR_DB, noise_name
from calibrate.report import Picture, Report, Table, points, rounded

MEAN = "mean"
"""Stands for the mean over the corpora."""


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


FiguresTable = Mapping[str, Mapping[str, Figures]]
"""Corpus to condition to figures."""


def robustness_report(table: FiguresTable, protocol: str) -> Report:
    """Return the report that is ``robustness.md``, ``.json`` and ``.png``."""
    whole = with_mean(table)
    columns = ("condition", *whole)
    hearing, chain = [], []
    for name in whole[MEAN]:
        pairs = [(row[name], row[CLEAN]) for row in whole.values()]
        hearing.append([name, *(f"{found.ua:.3f} ({points(found.ua - clean.ua)})" for found, clean in pairs)])
        chain.append(
            [
                name,
                *(
                    f"{found.chain_ua:.3f} ({points(found.chain_ua - clean.chain_ua)}), {found.missed:.1%} missed"
                    for found, clean in pairs
                ),
            ]
        )
    return Report(
        ("robustness.md", "robustness.json"),
        "Robustness",
        protocol,
        {"corpora": {corpus: _content_of(row) for corpus, row in whole.items()}},
        [
            Table(columns, hearing, "hearing: UA (points lost)"),
            Table(columns, chain, "whole chain"),
            Picture("robustness.png", "UA by condition", partial(_draw, table=table), (4.2 * len(table), 7)),
        ],
    )


def _content_of(row: Mapping[str, Figures]) -> dict[str, object]:
    """Return condition to figures, with drops against the clean recording."""
    clean = row[CLEAN]
    return rounded(
        {
            name: {
                "utterances": found.utterances,
                "ua": found.ua,
                "drop": clean.ua - found.ua,
                "chain_ua": found.chain_ua,
                "chain_drop": clean.chain_ua - found.chain_ua,
                "missed": found.missed,
            }
            for name, found in row.items()
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
            noise.plot([found.ua for found in series], f"C{index}.-", label=colour)
            noise.plot([found.chain_ua for found in series], f"C{index}.:")
        noise.set_xticks(range(len(SNR_DB) + 1), [CLEAN, *(f"{snr_db} dB" for snr_db in SNR_DB)])
        noise.set_title(corpus)
        others = [name for name in row if name not in noisy]
        places = np.arange(len(others))
        rest.bar(places - 0.2, [row[name].ua for name in others], 0.4, label="hearing")
        rest.bar(places + 0.2, [row[name].chain_ua for name in others], 0.4, label="whole chain", hatch="..", alpha=0.5)
        rest.set_xticks(places, others, rotation=30, ha="right")
    axes[0][0].set_ylim(0, 1)
    axes[0][0].set_ylabel("UA, dotted: whole chain")
    axes[1][0].set_ylabel("UA")
    axes[0][0].legend(loc="lower left")
    axes[1][0].legend(loc="lower left")
