"""The report on one model: every label and the averages over them, in all forms that a report has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from calibrate.evaluate import evaluate_model
from calibrate.metrics import Figures
from calibrate.report import (
    Note,
    Report,
    Table,
    confusion_picture,
    interval,
    remarks,
    rounded,
    summary,
    training_picture,
)
from calibrate.report.blocks import Block
from calibrate.report.cells import Cell
from calibrate.workspace import Workspace

COLUMNS = ("label", "precision", "recall", "F1", "support")
ABSENT = "Labels that none of the utterances has count in no average; answering with them is an error all the same."


def report_model(
    workspace: Workspace, folder: Path, *, split: str, recipe_path: Path | None, encoder: str | None
) -> Report:
    """Return the report of a run or bundle on the speakers of a split."""
    found = evaluate_model(workspace, folder, split, recipe_path, encoder)
    log = folder / "log.csv"
    return classification_report(found.figures, found.labels, found.protocol, log if log.is_file() else None)


def classification_report(
    corpora: Mapping[str, Figures], labels: Sequence[str], protocol: str, log: Path | None
) -> Report:
    """Return the report that is ``report.md``, ``.csv``, ``.json``, ``.html`` and the pictures they show.

    Args:
        corpora: figures by corpus.
        labels: of the model, in the order of the confusion matrices.
        protocol: how the figures came about.
        log: of a run's training, None for a model that has none.
    """
    blocks: list[Block] = [Note(ABSENT, medium="file")]
    for name, figure in corpora.items():
        title = f"{name}: {figure.utterances} utterances of {figure.speakers} speakers"
        blocks.append(Table(COLUMNS, rows(figure), title, _caption(figure)))
        blocks.append(confusion_picture(name, figure, labels))
    blocks += remarks(corpora)
    if log is not None:
        blocks += [Note("Training:", medium="file"), training_picture(log)]
    return Report(
        ("report.md", "report.csv", "report.json", "report.html"),
        "Classification report",
        protocol,
        {"corpora": {name: summary(figure) | _averages_of(figure) for name, figure in corpora.items()}},
        blocks,
        sheet=Table(
            ("corpus", *(name.lower() for name in COLUMNS)),
            [(name, *row) for name, figure in corpora.items() for row in rows(figure)],
        ),
        closing="report written to {out}/report.html",
    )


def _caption(figure: Figures) -> str:
    ua = f"{figure.ua:.3f}" if figure.ua_interval is None else interval(figure.ua, *figure.ua_interval)
    return f"UA {ua}, ECE {figure.ece:.3f}"


def averages(figure: Figures) -> dict[str, tuple[float, float, float]]:
    """Return precision, recall and F1 averaged over the labels: each the same (macro), and by support (weighted)."""
    classes = list(figure.classes.values())
    supports = [row.support for row in classes]
    weighings = {"macro average": [1] * len(classes), "weighted average": supports}
    return {name: _mean([(row.precision, row.recall, row.f1) for row in classes], w) for name, w in weighings.items()}


def rows(figure: Figures) -> list[Sequence[Cell]]:
    """Return the cells under ``COLUMNS``: a row a label, then accuracy and the averages."""
    labels = [(label, row.precision, row.recall, row.f1, row.support) for label, row in figure.classes.items()]
    means = [(name, *shares, figure.utterances) for name, shares in averages(figure).items()]
    return [*labels, ("accuracy", "", "", figure.wa, figure.utterances), *means]


def _averages_of(figure: Figures) -> dict[str, object]:
    names = ("precision", "recall", "f1")
    return rounded({kind: dict(zip(names, shares, strict=True)) for kind, shares in averages(figure).items()})


def _mean(rows: Sequence[tuple[float, float, float]], weights: Sequence[int]) -> tuple[float, float, float]:
    total = sum(weights)
    precision, recall, f1 = (
        sum(weight * value for weight, value in zip(weights, column, strict=True)) / total
        for column in zip(*rows, strict=True)
    )
    return precision, recall, f1
