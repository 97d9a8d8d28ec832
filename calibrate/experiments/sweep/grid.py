"""The grid of a sweep: a row a learning rate and batch size, training curves, and validation as a heat map."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from calibrate.report import Picture, Report, Table, deviation, legend_below, rounded
from calibrate.report.blocks import Block

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
    """Of the variance of what the first dense layer puts out, the part that comes from knowing who speaks."""
    idle_units: float
    """Units of a stack's first layer that are on for every test utterance, or off for every one."""

    @classmethod
    def read(cls, path: Path) -> Training:
        """Read what a sweep kept."""
        described = json.loads(path.read_text())
        return cls(**described | {"curve": [Epoch(**epoch) for epoch in described["curve"]]})


Row = dict[str, Any]
"""Figures of one learning rate and batch size, see ``summarise``."""


def summarise(found: Sequence[Training]) -> list[Row]:
    """Return a row a learning rate and batch size, one of them ``chosen`` by validation.

    Figures are means over the seeds; those of validation are of the last epochs.
    """
    rows = []
    for (rate, batch), group in groupby(found, key=lambda training: (training.learning_rate, training.batch)):
        same = list(group)
        last = [training.curve[-LAST_EPOCHS:] for training in same]
        rows.append(
            {
                "learning_rate": rate,
                "batch": batch,
                "validation_ua": _mean(_mean(epoch.validation_ua for epoch in epochs) for epochs in last),
                "best_validation_ua": _mean(max(epoch.validation_ua for epoch in epochs) for epochs in last),
                "validation_loss": _mean(epoch.validation_loss for epochs in last for epoch in epochs),
                "test_ua": _mean(training.test_ua for training in same),
                "test_ua_deviation": deviation([training.test_ua for training in same]),
                "test_wa": _mean(training.test_wa for training in same),
                "test_loss": _mean(training.test_loss for training in same),
                "speaker_share": _mean(training.speaker_share for training in same),
                "idle_units": _mean(training.idle_units for training in same),
            }
        )
    best = max(rows, key=lambda row: row["validation_ua"])
    return [row | {"chosen": row is best} for row in rows]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def sweep_report(found: Sequence[Training], title: str, protocol: str) -> Report:
    """Return the report that is ``sweep.md``, ``.json``, ``curves.png`` and, of a grid, ``sweep.png``."""
    rows = summarise(found)
    cells = [("→" if row["chosen"] else "", f"{row['learning_rate']:g}", *list(row.values())[1:-1]) for row in rows]
    blocks: list[Block] = [
        Table(COLUMNS, cells, caption=MEANING),
        Picture("curves.png", "training curves", partial(_draw_curves, found=found), (10, 4)),
    ]
    if len(rows) > 1:
        blocks.append(_grid_picture(rows))
    content = {"grid": list(map(_rounded, rows)), "trainings": [_rounded(asdict(training)) for training in found]}
    return Report(("sweep.md", "sweep.json"), title, protocol, content, blocks)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Return JSON values, rounded but for the learning rate."""
    return rounded(values) | {"learning_rate": values["learning_rate"]}


def _draw_curves(figure: Figure, found: Sequence[Training]) -> None:
    """Draw losses and validation UA by epoch, a colour a learning rate and batch size, a line a seed."""
    losses, accuracy = figure.subplots(1, 2, sharex=True)
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
    legend_below(figure, [accuracy])


def _grid_picture(rows: Sequence[Row]) -> Picture:
    """Return mean validation UA over learning rate and batch size, as a picture."""
    rates = sorted({row["learning_rate"] for row in rows})
    batches = sorted({row["batch"] for row in rows})
    shares = np.full((len(rates), len(batches)), np.nan)
    for row in rows:
        shares[rates.index(row["learning_rate"]), batches.index(row["batch"])] = row["validation_ua"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues")
        axes.set_xticks(range(len(batches)), [str(batch) for batch in batches])
        axes.set_yticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        axes.set_xlabel("batch")
        axes.set_ylabel("learning rate")
        for (row, column), share in np.ndenumerate(shares):
            axes.text(column, row, f"{share:.3f}", ha="center", va="center", color="C1")
        figure.colorbar(image, label="validation UA, last epochs")

    return Picture("sweep.png", "validation UA", draw, (2.5 + len(batches), 2 + 0.6 * len(rates)))
