"""The report on a transfer: UA on source and target against the target speakers trained on, with intervals."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from rich.console import Console
from rich.table import Table

from calibrate.experiments.transfer_figures import Estimate, Transfer

mpl.use("Agg")
from matplotlib import pyplot as plt

NAME = "transfer"
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


def rows(found: Transfer) -> list[list[str]]:
    """Return the cells under ``COLUMNS``."""
    cells = []
    for outcome in found.outcomes:
        source, target = (found.ua(outcome, side) for side in (0, 1))
        cost = _points(found.gain(outcome, found.outcomes[0], 0)) if outcome.speakers else ""
        heard = (_share(target), f"{target.deviation:.3f}", _share(source), f"{source.deviation:.3f}")
        cells.append([outcome.training, f"{outcome.speakers:.3g}", *heard, cost])
    return cells


def gain_rows(found: Transfer) -> list[list[str]]:
    """Return the cells under ``GAIN_COLUMNS``."""
    return [[name, f"{speakers:.3g}", _points(gain)] for name, speakers, gain in found.gains()]


def notes(found: Transfer) -> list[str]:
    """Return what the figures rest on, a sentence each."""
    lines = [f"Labels: {', '.join(found.labels)}; chance {found.chance:.3f}."]
    for name, side in (("Source", found.source), ("Target", found.target)):
        count = len(side.speakers)
        line = f"{name}: {side.corpus}, {count} test speakers, {side.asked.sum()} utterances"
        lines.append(f"{line}; so few that intervals are too narrow." if count < FEW else f"{line}.")
    return lines


def markdown(found: Transfer) -> str:
    """Return the report as Markdown."""
    lines = [f"# From {found.source.corpus} to {found.target.corpus}", "", f"Protocol: {protocol(found)}.", ""]
    lines += [*_table(COLUMNS, rows(found)), "", *notes(found), "", "![UA by target speakers](transfer.png)", ""]
    return "\n".join([*lines, *_table(GAIN_COLUMNS, gain_rows(found))]) + "\n"


def protocol(found: Transfer) -> str:
    """Return what was done."""
    return f"{found.described}; {PROTOCOL}"


def as_json(found: Transfer) -> dict[str, Any]:
    """Return all figures, also by seed and by speaker, rounded to four digits."""
    trainings = []
    for outcome in found.outcomes:
        described: dict[str, Any] = {"training": outcome.training, "target_speakers": outcome.speakers}
        for index, (name, side) in enumerate((("source", found.source), ("target", found.target))):
            alone = side.ua(outcome.right[index], np.eye(len(side.speakers))).mean(axis=1).tolist()
            described[name] = vars(found.ua(outcome, index)) | {
                "seeds": side.ua(outcome.right[index], np.ones((1, len(side.speakers))))[0].tolist(),
                "speakers": dict(zip(side.speakers, alone, strict=True)),
            }
        described["source_gain"] = vars(found.gain(outcome, found.outcomes[0], 0))
        trainings.append(described)
    gains = [{"gain": name, "target_speakers": count, **vars(gain)} for name, count, gain in found.gains()]
    values = {"protocol": protocol(found), "labels": list(found.labels), "trainings": trainings, "target_gains": gains}
    rounded: dict[str, Any] = json.loads(json.dumps(values), parse_float=lambda text: round(float(text), 4))
    return rounded


def write_transfer(out: Path, found: Transfer) -> None:
    """Write ``transfer.md``, ``.csv``, ``.json`` and ``.png`` to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.md").write_text(markdown(found), encoding="utf-8")
    (out / f"{NAME}.json").write_text(json.dumps(as_json(found), indent=2) + "\n", encoding="utf-8")
    with (out / f"{NAME}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("training", "target_speakers", "side", "corpus", "ua", "deviation", "low", "high"))
        for outcome in found.outcomes:
            for index, (name, side) in enumerate((("source", found.source), ("target", found.target))):
                figures = [f"{value:.4f}" for value in vars(found.ua(outcome, index)).values()]
                writer.writerow((outcome.training, f"{outcome.speakers:.3g}", name, side.corpus, *figures))
    draw(out / f"{NAME}.png", found)


def draw(path: Path, found: Transfer) -> None:
    """Draw UA against the target speakers trained on: a panel a side, a line a way of training, intervals as bars."""
    picture, panels = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
    for side, axes, name in ((1, panels[0], f"target: {found.target.corpus}"), (0, panels[1], found.source.corpus)):
        first = found.ua(found.outcomes[0], side)
        axes.axhline(first.value, color="0.4", linestyle="--", label="zero-shot")
        axes.axhspan(first.low, first.high, color="0.9", zorder=0)
        axes.axhline(found.chance, color="0.6", linestyle=":", label="chance")
        for index, training in enumerate(("target only", "fine-tuned", "joint")):
            mine = [outcome for outcome in found.outcomes if outcome.training == training]
            heard = [found.ua(outcome, side) for outcome in mine]
            middle = np.array([each.value for each in heard])
            bars = np.abs(np.array([[each.low for each in heard], [each.high for each in heard]]) - middle)
            places = np.array([outcome.speakers for outcome in mine]) * (1 + 0.03 * (index - 1))
            axes.errorbar(places, middle, bars, color=f"C{index}", marker="o", capsize=3, label=training)
        axes.set_xscale("log", base=2)
        counts = sorted({outcome.speakers for outcome in found.outcomes[1:]})
        axes.set_xticks(counts, [f"{count:.3g}" for count in counts])
        axes.set_xlabel("target speakers trained on")
        axes.set_title(name)
    panels[1].set_title(f"source: {found.source.corpus}")
    panels[0].set_ylabel("UA, unseen speakers")
    panels[0].legend()
    picture.savefig(path, dpi=120)
    plt.close(picture)


def show(found: Transfer) -> None:
    """Print both tables."""
    console = Console()
    for columns, cells, title in (
        (COLUMNS, rows(found), f"{found.source.corpus} to {found.target.corpus}: UA (95 %)"),
        (GAIN_COLUMNS, gain_rows(found), None),
    ):
        table = Table(*columns, title=title)
        for row in cells:
            table.add_row(*row)
        console.print(table)
    for line in notes(found):
        console.print(line, highlight=False)


def _share(figure: Estimate) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _points(gain: Estimate) -> str:
    return f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def _table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *cells)]
