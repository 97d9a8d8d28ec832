"""The report on robustness: UA per corpus and condition as Markdown, plot and JSON, and on the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from rich.console import Console
from rich.table import Table as Grid

from calibrate.experiments.conditions import CLEAN, NOISES, SNR_DB, noise_name

mpl.use("Agg")
from matplotlib import pyplot as plt

NAME = "robustness"
MEAN = "mean"
"""Stands for the mean over the corpora."""


@dataclass(frozen=True)
class Heard:
    """What a model heard of one corpus under one condition."""

    ua: float
    """Within the boundaries of the clean recording."""
    chain_ua: float
    """Within the boundaries that the segmenter finds, what it misses counting as wrong."""
    missed: float
    """Share of the utterances in which the segmenter finds nobody."""
    utterances: int


Table = Mapping[str, Mapping[str, Heard]]
"""Corpus to condition to what was heard."""


def write_robustness(out: Path, table: Table, protocol: str) -> None:
    """Write ``robustness.md``, ``.json`` and ``.png`` to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.md").write_text(markdown(table, protocol), encoding="utf-8")
    (out / f"{NAME}.json").write_text(json.dumps(as_json(table, protocol), indent=2) + "\n", encoding="utf-8")
    draw(out / f"{NAME}.png", table)


def as_json(table: Table, protocol: str) -> dict[str, Any]:
    """Return corpus to condition to figures, with drops against the clean recording, rounded to four digits."""
    corpora = {
        corpus: {
            name: {
                "utterances": heard.utterances,
                "ua": round(heard.ua, 4),
                "drop": round(row[CLEAN].ua - heard.ua, 4),
                "chain_ua": round(heard.chain_ua, 4),
                "chain_drop": round(row[CLEAN].chain_ua - heard.chain_ua, 4),
                "missed": round(heard.missed, 4),
            }
            for name, heard in row.items()
        }
        for corpus, row in with_mean(table).items()
    }
    return {"protocol": protocol, "corpora": corpora}


def markdown(table: Table, protocol: str) -> str:
    """Return the report as Markdown."""
    lines = ["# Robustness", "", f"Protocol: {protocol}.", ""]
    for title, rows in (
        ("UA, and points lost against the clean recording: hearing", hearing_rows(table)),
        ("The same: the whole chain, and utterances missed", chain_rows(table)),
    ):
        lines += [f"## {title}", "", "| condition | " + " | ".join(with_mean(table)) + " |"]
        lines += ["|---" * (len(table) + 2) + "|", *("| " + " | ".join(row) + " |" for row in rows), ""]
    return "\n".join([*lines, "![UA by condition](robustness.png)"]) + "\n"


def hearing_rows(table: Table) -> list[list[str]]:
    """Return a row a condition: its name, then ``UA (points lost)`` of each corpus and of their mean."""
    return _rows(table, lambda heard, clean: f"{heard.ua:.3f} ({100 * (heard.ua - clean.ua):+.1f})")


def chain_rows(table: Table) -> list[list[str]]:
    """Return the same for the whole chain, with the share of utterances missed."""
    return _rows(
        table,
        lambda heard, clean: (
            f"{heard.chain_ua:.3f} ({100 * (heard.chain_ua - clean.chain_ua):+.1f}), {heard.missed:.1%} missed"
        ),
    )


def with_mean(table: Table) -> dict[str, dict[str, Heard]]:
    """Return the table with the mean over its corpora, each weighing the same."""
    rows = {corpus: dict(row) for corpus, row in table.items()}
    first = next(iter(rows.values()))
    return rows | {MEAN: {name: _mean([row[name] for row in rows.values()]) for name in first}}


def show(table: Table) -> None:
    """Print both tables."""
    for title, rows in (("hearing: UA (points lost)", hearing_rows(table)), ("whole chain", chain_rows(table))):
        grid = Grid("condition", *with_mean(table), title=title)
        for row in rows:
            grid.add_row(*row)
        Console().print(grid)


def draw(path: Path, table: Table) -> None:
    """Draw UA against the noise, and as bars under the other conditions: a column a corpus."""
    picture, axes = plt.subplots(
        2, len(table), figsize=(4.2 * len(table), 7), layout="constrained", squeeze=False, sharey=True
    )
    noisy = {noise_name(colour, snr_db) for colour in NOISES for snr_db in SNR_DB}
    for column, (corpus, row) in enumerate(table.items()):
        noise, rest = axes[:, column]
        for index, colour in enumerate(NOISES):
            heard = [row[CLEAN], *(row[noise_name(colour, snr_db)] for snr_db in SNR_DB)]
            noise.plot([found.ua for found in heard], f"C{index}.-", label=colour)
            noise.plot([found.chain_ua for found in heard], f"C{index}.:")
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
    picture.savefig(path, dpi=120)
    plt.close(picture)


def _rows(table: Table, cell: Callable[[Heard, Heard], str]) -> list[list[str]]:
    rows = with_mean(table)
    names = list(rows[MEAN])
    return [[name, *(cell(row[name], row[CLEAN]) for row in rows.values())] for name in names]


def _mean(heard: Sequence[Heard]) -> Heard:
    return Heard(
        ua=float(np.mean([found.ua for found in heard])),
        chain_ua=float(np.mean([found.chain_ua for found in heard])),
        missed=float(np.mean([found.missed for found in heard])),
        utterances=sum(found.utterances for found in heard),
    )
