"""The report on one model: per label and on average, as Markdown, CSV and one HTML file that holds its pictures."""

from __future__ import annotations

import base64
import csv
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from calibrate.dataset import read_parts, require_speakers
from calibrate.evaluate import by_corpus
from calibrate.experiments.answers import load_model, protocol_of
from calibrate.metrics import Figures
from calibrate.report import draw_confusion, draw_training, summary

HEADER = ("label", "precision", "recall", "F1", "support")
ABSENT = "Labels that none of the utterances has count in no average; answering with them is an error all the same."
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
"""


def report_model(
    folder: Path,
    data: Path,
    split: str,
    recipe_path: Path | None,
    out: Path,
    encoder: str | None,
    *,
    cache: Path,
    threads: int,
    as_json: bool,
) -> None:
    """Write the report of a run or bundle to ``out``; see the command's help."""
    torch.set_num_threads(threads)
    model = load_model(folder, encoder, cache, threads)
    recipe = model.recipe(recipe_path)
    part = require_speakers(read_parts(recipe, data), split)
    answers = model.answer(part)
    corpora = by_corpus(answers.part, answers.probabilities, model.labels)
    protocol = protocol_of([model], recipe, part, split)
    log = folder / "log.csv"
    write_classification_report(out, corpora, model.labels, protocol, log if log.is_file() else None)
    if as_json:
        print(json.dumps(as_values(corpora, protocol)))
        return
    for name, figure in corpora.items():
        table = Table(*HEADER, title=f"{name}: {figure.utterances} utterances of {figure.speakers} speakers")
        for row in rows(figure):
            table.add_row(*row)
        Console().print(table)
    print(f"report written to {out / 'report.html'}")


def write_classification_report(
    out: Path, corpora: Mapping[str, Figures], labels: Sequence[str], protocol: str, log: Path | None
) -> None:
    """Write ``report.md``, ``report.csv``, ``report.json``, ``report.html`` and the pictures they show to ``out``.

    Args:
        out: folder.
        corpora: figures by corpus.
        labels: of the model, in the order of the confusion matrices.
        protocol: how the figures came about.
        log: of a run's training, None for a model that has none.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, figure in corpora.items():
        draw_confusion(out / f"confusion-{name}.png", figure, labels, f"{name}, UA {figure.ua:.3f}")
    if log is not None:
        draw_training(out / "training.png", log)
    (out / "report.md").write_text(markdown(corpora, protocol, log is not None), encoding="utf-8")
    (out / "report.json").write_text(json.dumps(as_values(corpora, protocol), indent=2) + "\n", encoding="utf-8")
    (out / "report.html").write_text(page(out, corpora, protocol, log is not None), encoding="utf-8")
    with (out / "report.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["corpus", *(name.lower() for name in HEADER)])
        writer.writerows([name, *row] for name, figure in corpora.items() for row in rows(figure))


def averages(figure: Figures) -> dict[str, tuple[float, float, float]]:
    """Return precision, recall and F1 averaged over the labels: each the same (macro), and by support (weighted)."""
    classes = list(figure.classes.values())
    supports = [row.support for row in classes]
    weighings = {"macro average": [1] * len(classes), "weighted average": supports}
    return {name: _mean([(row.precision, row.recall, row.f1) for row in classes], w) for name, w in weighings.items()}


def rows(figure: Figures) -> list[list[str]]:
    """Return the cells under ``HEADER``: a row a label, then accuracy and the averages."""
    cells = [
        [label, f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}", str(row.support)]
        for label, row in figure.classes.items()
    ]
    cells.append(["accuracy", "", "", f"{figure.wa:.3f}", str(figure.utterances)])
    for name, shares in averages(figure).items():
        cells.append([name, *(f"{share:.3f}" for share in shares), str(figure.utterances)])
    return cells


def as_values(corpora: Mapping[str, Figures], protocol: str) -> dict[str, object]:
    """Return the report as JSON values."""
    described = {}
    for name, figure in corpora.items():
        means = {
            kind: dict(zip(("precision", "recall", "f1"), (round(share, 4) for share in shares), strict=True))
            for kind, shares in averages(figure).items()
        }
        described[name] = summary(figure) | means
    return {"protocol": protocol, "corpora": described}


def markdown(corpora: Mapping[str, Figures], protocol: str, curves: bool) -> str:
    """Return the report as Markdown; ``curves`` shows those of the training."""
    lines = [f"Protocol: {protocol}.", "", ABSENT]
    for name, figure in corpora.items():
        lines += ["", f"## {name}", "", _counted(figure), ""]
        lines += [f"| {' | '.join(row)} |" for row in (HEADER, ["---"] * len(HEADER), *rows(figure))]
        lines += ["", f"![confusion matrix](confusion-{name}.png)"]
    if curves:
        lines += ["", "## Training", "", "![losses and validation UA](training.png)"]
    return "\n".join(lines) + "\n"


def page(folder: Path, corpora: Mapping[str, Figures], protocol: str, curves: bool) -> str:
    """Return the report as one HTML page, with the pictures of ``folder`` inside it."""
    title = "Classification report"
    parts = [f"<h1>{title}</h1>", _paragraph(f"Protocol: {protocol}."), _paragraph(ABSENT)]
    for name, figure in corpora.items():
        parts += [f"<h2>{html.escape(name)}</h2>", _paragraph(_counted(figure)), _html_table(rows(figure))]
        parts.append(_image(folder / f"confusion-{name}.png", f"Confusion matrix of {name}"))
    if curves:
        parts += ["<h2>Training</h2>", _image(folder / "training.png", "Losses and validation UA by epoch")]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _mean(rows: Sequence[tuple[float, float, float]], weights: Sequence[int]) -> tuple[float, float, float]:
    total = sum(weights)
    precision, recall, f1 = (
        sum(weight * value for weight, value in zip(weights, column, strict=True)) / total
        for column in zip(*rows, strict=True)
    )
    return precision, recall, f1


def _counted(figure: Figures) -> str:
    return f"{figure.utterances} utterances of {figure.speakers} speakers; UA {figure.ua:.3f}, ECE {figure.ece:.3f}."


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _html_table(cells: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in HEADER)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _image(path: Path, caption: str) -> str:
    encoded = base64.b64encode(path.read_bytes()).decode()
    return f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{encoded}"></figure>'
