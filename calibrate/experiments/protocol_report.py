"""The report on a protocol: UA over its folds, who was held out, and figures of all that was held out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from calibrate.metrics import Figures
from calibrate.report import figures_report, summary

NAME = "folds"
Training = Literal["alone", "joint"]
TRAININGS: tuple[Training, ...] = get_args(Training)
COLUMNS = ("training", "folds", "UA", "±", "worst fold", "WA", "macro F1", "UA, pooled")
FOLD_COLUMNS = ("training", "seed", "fold", "held out", "genders", "clips", "trained", "both", "UA")
MEANING = "trained: speakers trained on, of all corpora; both: of the speakers held out, those who are also trained on"


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
class ProtocolResult:
    """All folds, and all held-out utterances taken together."""

    folds: list[FoldResult]
    pooled: dict[Training, Figures]


def write_protocol(out: Path, result: ProtocolResult, corpus: str, labels: Sequence[str], protocol: str) -> None:
    """Write ``folds.md`` and ``folds.json`` to ``out``, and a report of the pooled figures for each training below."""
    out.mkdir(parents=True, exist_ok=True)
    for training, figures in result.pooled.items():
        pooled = f"{training}, all held-out utterances of all folds and seeds together; {protocol}"
        figures_report({corpus: figures}, labels, pooled).write(out / training)
    (out / f"{NAME}.md").write_text(markdown(result, corpus, protocol), encoding="utf-8")
    (out / f"{NAME}.json").write_text(json.dumps(as_json(result, protocol), indent=2) + "\n", encoding="utf-8")


def as_json(result: ProtocolResult, protocol: str) -> dict[str, Any]:
    """Return every fold, and the summary of each training, rounded to four digits."""
    folds = [asdict(fold) | {"figures": summary(fold.figures)} for fold in result.folds]
    trainings = {}
    for training, figures in result.pooled.items():
        ua = _ua_of(result, training)
        trainings[training] = {
            "ua": round(float(np.mean(ua)), 4),
            "ua_deviation": round(_deviation(ua), 4),
            "pooled": summary(figures),
        }
    return {"protocol": protocol, "trainings": trainings, "folds": folds}


def rows(result: ProtocolResult) -> list[list[str]]:
    """Return the cells under ``COLUMNS``."""
    cells = []
    for training, pooled in result.pooled.items():
        ua = _ua_of(result, training)
        folds = [fold.figures for fold in result.folds if fold.training == training]
        wa, f1 = np.mean([fold.wa for fold in folds]), np.mean([fold.macro_f1 for fold in folds])
        shares = (np.mean(ua), _deviation(ua), min(ua), wa, f1, pooled.ua)
        cells.append([training, str(len(ua)), *(f"{share:.3f}" for share in shares)])
    return cells


def fold_rows(result: ProtocolResult) -> list[list[str]]:
    """Return the cells under ``FOLD_COLUMNS``."""
    return [
        [
            fold.training,
            str(fold.seed),
            str(fold.fold),
            _names(fold.held_out),
            " ".join(f"{count} {gender}" for gender, count in fold.genders.items()),
            str(fold.figures.utterances),
            str(fold.trained_on),
            str(fold.shared),
            f"{fold.figures.ua:.3f}",
        ]
        for fold in result.folds
    ]


def markdown(result: ProtocolResult, corpus: str, protocol: str) -> str:
    """Return the report as Markdown."""
    lines = [f"# {corpus} in folds", "", f"Protocol: {protocol}.", "", *_table(COLUMNS, rows(result)), ""]
    lines += [
        f"Pooled, with figures per label, speaker and gender: [{training}]({training}/report.md)."
        for training in result.pooled
    ]
    lines += ["", "± is the standard deviation over folds; pooled takes all held-out utterances together."]
    for training in result.pooled:
        lines += ["", f"![confusion matrix, {training}]({training}/confusion-{corpus}.png)"]
    folds = ["", "## Folds", "", f"{MEANING[0].upper()}{MEANING[1:]}.", "", *_table(FOLD_COLUMNS, fold_rows(result))]
    return "\n".join([*lines, *folds]) + "\n"


def show(result: ProtocolResult, title: str) -> None:
    """Print UA over the folds, and who was held out."""
    table = Table(*COLUMNS, title=title)
    for row in rows(result):
        table.add_row(*row)
    folds = Table(*FOLD_COLUMNS, caption=MEANING)
    for row in fold_rows(result):
        folds.add_row(*row)
    Console().print(table, folds)


def _ua_of(result: ProtocolResult, training: Training) -> list[float]:
    return [fold.figures.ua for fold in result.folds if fold.training == training]


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _names(speakers: Sequence[str], most: int = 6) -> str:
    short = [speaker.rpartition("-")[2] for speaker in speakers]
    return " ".join(short) if len(short) <= most else f"{' '.join(short[:most])} … ({len(short)})"


def _table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *cells)]
