"""The report on recognition: figures of every corpus, with their confusion matrices, and the curves of a training."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from calibrate.metrics import Figures, ValueFigures
from calibrate.report.blocks import Block, Note, Picture, Table
from calibrate.report.cells import rounded, span
from calibrate.report.legend import legend_below
from calibrate.report.report import Report
from calibrate.report.values import values_blocks, values_summary

FEW = 5
"""Utterances behind a percentile, or speakers behind an interval, below which it says nothing."""
GENDERS = {"f": "female", "m": "male"}


def figures_report(
    corpora: Mapping[str, Figures],
    labels: Sequence[str],
    protocol: str,
    title: str | None = None,
    values: Mapping[str, Mapping[str, ValueFigures]] | None = None,
) -> Report:
    """Return the report that is ``report.md``, ``metrics.json`` and one ``confusion-<corpus>.png`` each.

    Args:
        corpora: figures by corpus.
        labels: in the order of the confusion matrices.
        protocol: how the figures came about.
        title: of the table on the terminal; None is the protocol.
        values: figures by corpus and value, of a model that has any.
    """
    blocks: list[Block] = [headline(corpora), _short_headline(corpora, protocol if title is None else title)]
    for name, figure in corpora.items():
        classes = [(label, row.precision, row.recall, row.f1, row.support) for label, row in figure.classes.items()]
        columns = ("label", "precision", "recall", "F1", "support")
        blocks.append(Table(columns, classes, title=name, medium="file"))
        blocks.append(Table(("speaker", "UA"), sorted(figure.speaker_ua.items()), medium="file"))
        if figure.gender_ua:
            genders = [(GENDERS[gender], ua) for gender, ua in figure.gender_ua.items()]
            blocks.append(Table(("gender", "UA"), genders, medium="file"))
        blocks.append(confusion_picture(name, figure, labels))
    blocks += [*remarks(corpora), *values_blocks(values or {})]
    content: dict[str, Any] = {"corpora": {name: summary(figure) for name, figure in corpora.items()}}
    if values:
        content["values"] = values_summary(values)
    return Report(("report.md", "metrics.json"), "", protocol, content, blocks)


def summary(figure: Figures) -> dict[str, Any]:
    """Return the figures as JSON values, rounded to four digits."""
    return rounded(asdict(figure) | {"mean_speaker_ua": figure.mean_speaker_ua, "gini": figure.gini})


def headline(corpora: Mapping[str, Figures]) -> Table:
    """Return the headline figures, a row a corpus; 95 % is the interval of UA over speakers.

    The worst decile is the mean UA of the worst tenth of the speakers; Gini is that coefficient of the speakers' UA.
    """
    columns = ("corpus", "utterances", "speakers", "UA", "95 %", "WA", "macro F1", "ECE")
    means = ("mean speaker UA", "worst decile", "Gini")
    rows = [
        (
            name, row.utterances, row.speakers, row.ua, span(row.ua_interval), row.wa, row.macro_f1, row.ece,
            row.mean_speaker_ua, row.worst_decile, row.gini,
        )
        for name, row in corpora.items()
    ]  # fmt: skip
    return Table((*columns, *means), rows, medium="file")


def _short_headline(corpora: Mapping[str, Figures], title: str) -> Table:
    columns = ("corpus", "clips", "speakers", "UA", "95 %", "WA", "ECE", "worst")
    rows = [
        (name, row.utterances, row.speakers, row.ua, span(row.ua_interval), row.wa, row.ece, row.worst_decile)
        for name, row in corpora.items()
    ]
    caption = "95 %: of UA, over speakers; worst: mean UA of the worst tenth of the speakers"
    return Table(columns, rows, title, caption, medium="terminal")


def remarks(corpora: Mapping[str, Figures]) -> list[Note]:
    """Return what a reader of the figures has to know: labels never recognised, and too few people or clips."""
    notes = []
    for name, row in corpora.items():
        for label in row.never_recognised:
            count = row.classes[label].support
            which = "the one utterance" if count == 1 else f"none of {count} utterances"
            notes.append(
                f"{name}: {which} of {label} is {'not ' * (count == 1)}recognised: too few to learn from, or trained "
                "too briefly."
            )
        if row.speakers == 1:
            notes.append(f"{name}: one speaker, so there is no interval: anyone else may be far from these figures.")
        elif row.speakers < FEW:
            notes.append(f"{name}: an interval over {row.speakers} speakers is hardly more than the range of theirs.")
        elif row.worst_utterances is not None and row.worst_utterances < FEW:
            notes.append(
                f"{name}: the worst 10 % of the speakers have {row.worst_utterances} utterances, too few to tell."
            )
    return [Note(text) for text in notes]


def confusion_picture(name: str, figure: Figures, labels: Sequence[str]) -> Picture:
    """Return the picture ``confusion-<name>.png``, each row as shares of the true label."""
    title = f"{name}, UA {figure.ua:.3f}"
    draw = partial(_draw_confusion, figure=figure, labels=labels, title=title)
    return Picture(f"confusion-{name}.png", "confusion matrix", draw, (5.5, 4.5))


def training_picture(log: Path) -> Picture:
    """Return the picture ``training.png``, losses and validation UA of a run's ``log.csv``."""
    return Picture("training.png", "losses and validation UA", partial(_draw_training, log=log), (9, 3.5))


def _draw_confusion(canvas: Figure, figure: Figures, labels: Sequence[str], title: str) -> None:
    counts = np.array(figure.confusion)
    present = [row for row in range(len(labels)) if counts[row].sum()]
    shares = counts[present] / counts[present].sum(axis=1, keepdims=True)
    axes = canvas.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
    axes.set_yticks(range(len(present)), [labels[row] for row in present])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(column, row, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.5 else "black")


def _draw_training(canvas: Figure, log: Path) -> None:
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["epoch"]) for row in rows]
    losses, accuracy = canvas.subplots(1, 2, sharex=True)
    for column in ("train_loss", "validation_loss"):
        losses.plot(epochs, [float(row[column]) for row in rows], label=column.replace("_", " "))
    losses.set_xlabel("epoch")
    legend_below(canvas, [losses])
    accuracy.plot(epochs, [float(row["validation_ua"]) for row in rows])
    accuracy.set_xlabel("epoch")
    accuracy.set_ylabel("validation UA, mean over corpora")
