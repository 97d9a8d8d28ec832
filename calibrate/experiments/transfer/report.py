"""The report on a transfer: UA on source and target against the target speakers trained on, with intervals."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from calibrate.experiments.transfer.figures import Estimate, Transfer
from calibrate.report import Note, Picture, Report, Table, interval, legend_below, points, rounded

COLUMNS = ("training", "target speakers", "UA, target", "±", "UA, source", "±", "source, points")
GAIN_COLUMNS = ("on the target", "target speakers", "points")
FEW = 8
"""Speakers below which an interval over speakers is known to be too narrow."""
PROTOCOL = (
    "zero-shot: trained on the source only; target only: trained anew on speakers of the target; fine-tuned: the "
    "source's model, trained on by the same schedule on these speakers; joint: trained anew on the source and them, "
    "both of the same weight; the speakers are drawn with each seed; tested on speakers who trained nothing; what is "
    "spoken in each file; no adaptation; UA is the mean recall over the labels that both have, the mean over seeds, "
    "with the 95 % interval of a bootstrap over test speakers; ±: standard deviation over seeds; points: UA in percent "
    "gained, the same speakers drawn for both models"
)


def transfer_report(found: Transfer) -> Report:
    """Return the report that is ``transfer.md``, ``.csv``, ``.json`` and ``.png``."""
    names = f"{found.source.corpus} to {found.target.corpus}"
    return Report(
        ("transfer.md", "transfer.csv", "transfer.json"),
        f"From {found.source.corpus} to {found.target.corpus}",
        f"{found.described}; {PROTOCOL}",
        content_of(found),
        [
            Table(COLUMNS, rows(found), f"{names}: UA (95 %)"),
            Table(GAIN_COLUMNS, gain_rows(found), "Gains"),
            *(Note(text) for text in notes(found)),
            Picture("transfer.png", "UA by target speakers", partial(_draw, found=found), (9, 4)),
        ],
        sheet=_sheet(found),
    )


def rows(found: Transfer) -> list[list[str]]:
    """Return the cells under ``COLUMNS``."""
    cells = []
    for outcome in found.outcomes:
        source, target = (found.ua(outcome, side) for side in (0, 1))
        cost = _points(found.ua(outcome, 0, found.outcomes[0])) if outcome.speakers else ""
        figures = (_share(target), f"{target.deviation:.3f}", _share(source), f"{source.deviation:.3f}")
        cells.append([outcome.training, f"{outcome.speakers:.3g}", *figures, cost])
    return cells


def gain_rows(found: Transfer) -> list[list[str]]:
    """Return the cells under ``GAIN_COLUMNS``."""
    return [[name, f"{speakers:.3g}", _points(gain)] for name, speakers, gain in found.gains()]


def notes(found: Transfer) -> list[str]:
    """Return what the figures rest on, a sentence each."""
    lines = [f"Labels: {', '.join(found.labels)}; chance {found.chance:.3f}."]
    for name, side in found.sides.items():
        count = len(side.speakers)
        line = f"{name.capitalize()}: {side.corpus}, {count} test speakers, {side.asked.sum()} utterances"
        lines.append(f"{line}; so few that intervals are too narrow." if count < FEW else f"{line}.")
    return lines


def content_of(found: Transfer) -> dict[str, Any]:
    """Return all figures as JSON values, also by seed and by speaker."""
    trainings = []
    for outcome in found.outcomes:
        described: dict[str, Any] = {"training": outcome.training, "target_speakers": outcome.speakers}
        for index, (name, side) in enumerate(found.sides.items()):
            alone = side.ua(outcome.right[index], np.eye(len(side.speakers))).mean(axis=1).tolist()
            described[name] = vars(found.ua(outcome, index)) | {
                "seeds": side.ua(outcome.right[index], np.ones((1, len(side.speakers))))[0].tolist(),
                "speakers": dict(zip(side.speakers, alone, strict=True)),
            }
        described["source_gain"] = vars(found.ua(outcome, 0, found.outcomes[0]))
        trainings.append(described)
    gains = [{"gain": name, "target_speakers": count, **vars(gain)} for name, count, gain in found.gains()]
    return rounded({"labels": list(found.labels), "trainings": trainings, "target_gains": gains})


def _sheet(found: Transfer) -> Table:
    columns = ("training", "target_speakers", "side", "corpus", "ua", "deviation", "low", "high")
    cells = []
    for outcome in found.outcomes:
        for index, (name, side) in enumerate(found.sides.items()):
            figures = [f"{value:.4f}" for value in vars(found.ua(outcome, index)).values()]
            cells.append((outcome.training, f"{outcome.speakers:.3g}", name, side.corpus, *figures))
    return Table(columns, cells)


def _draw(figure: Figure, found: Transfer) -> None:
    """Draw UA against the target speakers trained on: a panel a side, a line a way of training, intervals as bars."""
    panels = figure.subplots(1, 2, sharey=True)
    for side, axes, name in ((1, panels[0], f"target: {found.target.corpus}"), (0, panels[1], found.source.corpus)):
        zero_shot = found.ua(found.outcomes[0], side)
        axes.axhline(zero_shot.value, color="0.4", linestyle="--", label="zero-shot")
        axes.axhspan(zero_shot.low, zero_shot.high, color="0.9", zorder=0)
        axes.axhline(found.chance, color="0.6", linestyle=":", label="chance")
        for index, training in enumerate(("target only", "fine-tuned", "joint")):
            mine = [outcome for outcome in found.outcomes if outcome.training == training]
            figures = [found.ua(outcome, side) for outcome in mine]
            values = np.array([each.value for each in figures])
            bars = np.abs(np.array([[each.low for each in figures], [each.high for each in figures]]) - values)
            places = np.array([outcome.speakers for outcome in mine]) * (1 + 0.03 * (index - 1))
            axes.errorbar(places, values, bars, color=f"C{index}", marker="o", capsize=3, label=training)
        axes.set_xscale("log", base=2)
        counts = sorted({outcome.speakers for outcome in found.outcomes[1:]})
        axes.set_xticks(counts, [f"{count:.3g}" for count in counts])
        axes.set_xlabel("target speakers trained on")
        axes.set_title(name)
    panels[1].set_title(f"source: {found.source.corpus}")
    panels[0].set_ylabel("UA, unseen speakers")
    legend_below(figure, panels[:1])


def _share(figure: Estimate) -> str:
    return interval(figure.value, figure.low, figure.high)


def _points(gain: Estimate) -> str:
    return points(gain.value, gain.low, gain.high)
