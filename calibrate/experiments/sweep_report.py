"""The report of a sweep: a row a learning rate and batch size, training curves, and validation as a heat map."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

mpl.use("Agg")
from matplotlib import pyplot as plt

NAME = "sweep"
LAST_EPOCHS = 10
COLUMNS = ("", "rate", "batch", "valid. UA", "best", "loss", "test UA", "±", "WA", "loss", "told", "idle")
MEANING = (
    "→: chosen, by the mean validation UA of the last epochs over the seeds; best: of these epochs; ±: over the seeds; "
    "told: of the variance after the first dense layer, the part that comes from being told who speaks; idle: units "
    "of that layer that are on, or off, for every test utterance"
)


@dataclass(frozen=True)
class Epoch:
    """A line of a training's log."""

    train_loss: float
    validation_loss: float
    validation_ua: float


@dataclass(frozen=True)
class Training:
    """One training of the grid."""

    learning_rate: float
    batch: int
    seed: int
    curve: list[Epoch]
    test_ua: float
    test_wa: float
    test_loss: float
    corpora: dict[str, float]
    """Test UA of each corpus."""
    speaker_share: float
    """Of the variance of what the first dense layer puts out, the part that comes from being told who speaks."""
    idle_units: float
    """Units of a stack's first layer that are on for every test utterance, or off for every one."""

    @classmethod
    def read(cls, path: Path) -> Training:
        """Read what a sweep kept."""
        described = json.loads(path.read_text())
        return cls(**described | {"curve": [Epoch(**epoch) for epoch in described["curve"]]})


@dataclass(frozen=True)
class Row:
    """Means over the seeds of one learning rate and batch size; validation is that of the last epochs."""

    learning_rate: float
    batch: int
    validation_ua: float
    best_validation_ua: float
    validation_loss: float
    test_ua: float
    test_ua_deviation: float
    test_wa: float
    test_loss: float
    speaker_share: float
    idle_units: float
    chosen: bool = False


def summarise(found: Sequence[Training]) -> list[Row]:
    """Return a row a learning rate and batch size, one of them chosen by validation."""
    rows = []
    for (rate, batch), group in groupby(found, key=lambda training: (training.learning_rate, training.batch)):
        same = list(group)
        last = [training.curve[-LAST_EPOCHS:] for training in same]
        ua = [training.test_ua for training in same]
        rows.append(
            Row(
                rate,
                batch,
                validation_ua=float(np.mean([np.mean([epoch.validation_ua for epoch in epochs]) for epochs in last])),
                best_validation_ua=float(np.mean([max(epoch.validation_ua for epoch in epochs) for epochs in last])),
                validation_loss=float(np.mean([epoch.validation_loss for epochs in last for epoch in epochs])),
                test_ua=float(np.mean(ua)),
                test_ua_deviation=float(np.std(ua, ddof=1)) if len(ua) > 1 else 0.0,
                test_wa=float(np.mean([training.test_wa for training in same])),
                test_loss=float(np.mean([training.test_loss for training in same])),
                speaker_share=float(np.mean([training.speaker_share for training in same])),
                idle_units=float(np.mean([training.idle_units for training in same])),
            )
        )
    best = max(rows, key=lambda row: row.validation_ua)
    return [Row(**asdict(row) | {"chosen": row is best}) for row in rows]


def write_sweep(out: Path, rows: Sequence[Row], found: Sequence[Training], protocol: str) -> None:
    """Write ``sweep.md``, ``sweep.json``, ``curves.png`` and, of a grid, ``sweep.png`` to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.json").write_text(json.dumps(as_json(rows, found, protocol), indent=2) + "\n", encoding="utf-8")
    lines = ["# Learning rates and batch sizes", "", f"Protocol: {protocol}.", ""]
    lines += [f"| {' | '.join(row)} |" for row in (COLUMNS, ["---"] * len(COLUMNS), *cells(rows))]
    lines += ["", f"{MEANING}.", "", "![training curves](curves.png)"]
    draw_curves(out / "curves.png", found)
    if len(rows) > 1:
        lines.append(f"![validation UA]({NAME}.png)")
        draw_grid(out / f"{NAME}.png", rows)
    (out / f"{NAME}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def as_json(rows: Sequence[Row], found: Sequence[Training], protocol: str) -> dict[str, Any]:
    """Return table and curves, rounded to four digits but for the learning rates."""
    grid = [_rounded(asdict(row)) for row in rows]
    return {"protocol": protocol, "grid": grid, "trainings": [_rounded(asdict(training)) for training in found]}


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return the cells under ``COLUMNS``."""
    return [
        [
            "→" if row.chosen else "",
            f"{row.learning_rate:g}",
            str(row.batch),
            f"{row.validation_ua:.3f}",
            f"{row.best_validation_ua:.3f}",
            f"{row.validation_loss:.3f}",
            f"{row.test_ua:.3f}",
            f"{row.test_ua_deviation:.3f}",
            f"{row.test_wa:.3f}",
            f"{row.test_loss:.3f}",
            f"{row.speaker_share:.3f}",
            f"{row.idle_units:.3f}",
        ]
        for row in rows
    ]


def show(rows: Sequence[Row], title: str) -> None:
    """Print the table."""
    table = Table(*COLUMNS, title=title, caption=MEANING, box=box.SIMPLE, padding=0)
    for row in cells(rows):
        table.add_row(*row)
    Console().print(table)


def draw_curves(path: Path, found: Sequence[Training]) -> None:
    """Draw losses and validation UA by epoch, a colour a learning rate and batch size, a line a seed."""
    picture, (losses, accuracy) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    colours: dict[tuple[float, int], str] = {}
    for training in found:
        cell = (training.learning_rate, training.batch)
        name = "_" if cell in colours else f"{cell[0]:g}, batch {cell[1]}"
        colour = colours.setdefault(cell, f"C{len(colours) % 10}")
        epochs = range(1, len(training.curve) + 1)
        losses.plot(epochs, [epoch.train_loss for epoch in training.curve], f"{colour}:", linewidth=1)
        losses.plot(epochs, [epoch.validation_loss for epoch in training.curve], colour, linewidth=1)
        accuracy.plot(epochs, [epoch.validation_ua for epoch in training.curve], colour, linewidth=1, label=name)
    losses.set_ylabel("validation loss, dotted: training loss")
    accuracy.set_ylabel("validation UA")
    for axes in (losses, accuracy):
        axes.set_xlabel("epoch")
    accuracy.legend(fontsize="small")
    picture.savefig(path, dpi=120)
    plt.close(picture)


def draw_grid(path: Path, rows: Sequence[Row]) -> None:
    """Draw mean validation UA over learning rate and batch size."""
    rates = sorted({row.learning_rate for row in rows})
    batches = sorted({row.batch for row in rows})
    shares = np.full((len(rates), len(batches)), np.nan)
    for row in rows:
        shares[rates.index(row.learning_rate), batches.index(row.batch)] = row.validation_ua
    picture, axes = plt.subplots(figsize=(2.5 + len(batches), 2 + 0.6 * len(rates)), layout="constrained")
    image = axes.imshow(shares, cmap="Blues")
    axes.set_xticks(range(len(batches)), [str(batch) for batch in batches])
    axes.set_yticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_xlabel("batch")
    axes.set_ylabel("learning rate")
    for (row, column), share in np.ndenumerate(shares):
        axes.text(column, row, f"{share:.3f}", ha="center", va="center", color="C1")
    picture.colorbar(image, label="validation UA, last epochs")
    picture.savefig(path, dpi=120)
    plt.close(picture)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(values | {"learning_rate": 0})
    rounded: dict[str, Any] = json.loads(text, parse_float=lambda number: round(float(number), 4))
    return rounded | {"learning_rate": values["learning_rate"]}
