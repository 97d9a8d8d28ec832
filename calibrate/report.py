"""Reports: figures as Markdown tables and as JSON, confusion matrices and the reliability as pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from rich.console import Console
from rich.table import Table

from calibrate.metrics import Figures

mpl.use("Agg")
from matplotlib import pyplot as plt

GENDERS = {"f": "female", "m": "male"}


def write_report(folder: Path, corpora: Mapping[str, Figures], labels: Sequence[str], protocol: str) -> None:
    """Write ``report.md``, ``metrics.json`` and one ``confusion-<corpus>.png`` each to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(markdown(corpora, protocol))
    (folder / "metrics.json").write_text(json.dumps(as_values(corpora, protocol), indent=2) + "\n")
    for name, figure in corpora.items():
        draw_confusion(folder / f"confusion-{name}.png", figure, labels, f"{name}, UA {figure.ua:.3f}")


def as_values(corpora: Mapping[str, Figures], protocol: str) -> dict[str, Any]:
    """Return the figures of all corpora as JSON values."""
    return {"protocol": protocol, "corpora": {name: summary(figure) for name, figure in corpora.items()}}


def summary(figure: Figures) -> dict[str, Any]:
    """Return the figures as JSON values, rounded to four digits."""
    rounded: dict[str, Any] = json.loads(json.dumps(asdict(figure)), parse_float=lambda text: round(float(text), 4))
    return rounded | {"mean_speaker_ua": round(figure.mean_speaker_ua, 4), "gini": round(figure.gini, 4)}


def markdown(corpora: Mapping[str, Figures], protocol: str) -> str:
    """Return the report as Markdown."""
    lines = [f"Protocol: {protocol}.", "", *figures_table(corpora)]
    for name, figure in corpora.items():
        lines += ["", f"## {name}", "", "| label | precision | recall | F1 | support |", "|---|---|---|---|---|"]
        lines += [
            f"| {label} | {row.precision:.3f} | {row.recall:.3f} | {row.f1:.3f} | {row.support} |"
            for label, row in figure.classes.items()
        ]
        lines += ["", "| speaker | UA |", "|---|---|"]
        lines += [f"| {speaker} | {ua:.3f} |" for speaker, ua in sorted(figure.speaker_ua.items())]
        if figure.gender_ua:
            lines += ["", "| gender | UA |", "|---|---|"]
            lines += [f"| {GENDERS[gender]} | {ua:.3f} |" for gender, ua in figure.gender_ua.items()]
        lines += ["", f"![confusion matrix](confusion-{name}.png)"]
    return "\n".join(lines) + "\n"


def figures_table(corpora: Mapping[str, Figures]) -> list[str]:
    """Return the Markdown table of the headline figures, a row a corpus.

    The worst decile is the mean UA of the worst tenth of the speakers; Gini is that coefficient of the speakers' UA.
    """
    return [
        "| corpus | utterances | speakers | UA | WA | macro F1 | ECE | mean speaker UA | worst decile | Gini |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {name} | {row.utterances} | {row.speakers} | {row.ua:.3f} | {row.wa:.3f} | {row.macro_f1:.3f} "
            f"| {row.ece:.3f} | {row.mean_speaker_ua:.3f} | {row.worst_decile:.3f} | {row.gini:.3f} |"
            for name, row in corpora.items()
        ),
    ]


def draw_confusion(path: Path, figure: Figures, labels: Sequence[str], title: str) -> None:
    """Draw the confusion matrix, each row as shares of the true label."""
    counts = np.array(figure.confusion)
    present = [row for row in range(len(labels)) if counts[row].sum()]
    shares = counts[present] / counts[present].sum(axis=1, keepdims=True)
    picture, axes = plt.subplots(figsize=(5.5, 4.5), layout="constrained")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
    axes.set_yticks(range(len(present)), [labels[row] for row in present])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(column, row, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.5 else "black")
    picture.savefig(path, dpi=120)
    plt.close(picture)


def draw_training(path: Path, log: Path) -> None:
    """Draw the losses and the validation UA of a run's ``log.csv``."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["epoch"]) for row in rows]
    picture, (losses, accuracy) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for column in ("train_loss", "validation_loss"):
        losses.plot(epochs, [float(row[column]) for row in rows], label=column.replace("_", " "))
    losses.set_xlabel("epoch")
    losses.legend()
    accuracy.plot(epochs, [float(row["validation_ua"]) for row in rows])
    accuracy.set_xlabel("epoch")
    accuracy.set_ylabel("validation UA, mean over corpora")
    picture.savefig(path, dpi=120)
    plt.close(picture)


def show_figures(corpora: Mapping[str, Figures], title: str) -> None:
    """Print the headline figures as a table."""
    table = Table("corpus", "clips", "speakers", "UA", "WA", "F1", "ECE", "worst 10 %", title=title)
    for name, row in corpora.items():
        shares = (row.ua, row.wa, row.macro_f1, row.ece, row.worst_decile)
        table.add_row(name, str(row.utterances), str(row.speakers), *(f"{share:.3f}" for share in shares))
    Console().print(table)
