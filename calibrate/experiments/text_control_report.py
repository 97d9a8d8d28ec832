"""The report of the text control, and the work behind ``affectd-calibrate text-control``."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from calibrate.corpora import read_corpus
from calibrate.corpora.labels import EMOTIONS, label_utterances, to_label
from calibrate.dataset import Part, label_indices
from calibrate.experiments.text_control import (
    Design,
    TextFigure,
    design_of,
    measure,
    measure_corpus,
    read_text_set,
    sentences_of,
)
from calibrate.experiments.text_encoder import TextFeatures, load_text_encoder
from edge.errors import UsageError

mpl.use("Agg")
from matplotlib import pyplot as plt

logger = logging.getLogger(__name__)

COLUMNS = ("held out", "labels", "utterances", "UA", "95 % interval", "chance", "lookup")
MEANING = (
    "held out: what no training utterance shares with the test utterance; lookup: the most frequent label of the same "
    "sentence in training; intervals over speakers and sentences"
)


def control_text(
    name: str,
    folder: Path,
    encoder: str,
    out: Path | None,
    sanity: Path | None,
    *,
    finetune: bool,
    folds: int,
    seed: int,
    threads: int,
    as_json: bool,
) -> None:
    """Run the text control on a corpus; see the command's help."""
    torch.set_num_threads(threads)
    part, emotions = read_transcripts(name, folder)
    checked = read_text_set(sanity) if sanity else None
    source = TextFeatures(load_text_encoder(encoder), finetune)
    figures = measure_corpus(source, part, emotions, folds, seed)
    if checked:
        texts, labels = checked
        figures.append(
            measure(source, texts, len(labels), sentences_of(texts), folds, seed, ("texts", texts.utterances[0].corpus))
        )
    design = design_of(part)
    how = "fine-tuned with its head" if finetune else "frozen under its head"
    label = encoder.rstrip("/").rpartition("/")[2]
    speakers = len(np.unique(part.speakers))
    protocol = (
        f"{name}, {speakers} speakers; transcripts only; {label}, {how}; at most {folds} folds, "
        "everything answered once by a head that did not see what is held out"
    )
    if out is not None:
        write_text_control(out, figures, design, protocol)
    if as_json:
        print(json.dumps(as_values(figures, design, protocol)))
        return
    table = Table(*COLUMNS, title=f"{name}: the words alone", caption=MEANING)
    for row in rows(figures):
        table.add_row(*row)
    console = Console()
    console.print(table)
    for line in reading(figures, design):
        console.print(line, highlight=False)


def read_transcripts(name: str, folder: Path) -> tuple[Part, int]:
    """Read the utterances of a corpus that have an emotion of ours and a text; returns how many emotions, too.

    Raises:
        UsageError: none has a text.
    """
    labelled = label_utterances(read_corpus(name, folder).utterances)
    told = [utterance for utterance in labelled.utterances if utterance.text]
    if not told:
        raise UsageError(f"{folder}: no utterance of {name} has a transcript; the text control needs them")
    if len(told) < len(labelled.utterances):
        logger.warning("%d utterances have no transcript and are left out", len(labelled.utterances) - len(told))
    found = {to_label(utterance.emotion) for utterance in told}
    emotions = [emotion for emotion in EMOTIONS if emotion in found]
    return Part(told, label_indices(told, emotions)), len(emotions)


def write_text_control(out: Path, figures: Sequence[TextFigure], design: Design, protocol: str) -> None:
    """Write ``text-control.md``, ``.json`` and ``.png`` to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "text-control.md").write_text(markdown(figures, design, protocol), encoding="utf-8")
    described = json.dumps(as_values(figures, design, protocol), indent=2)
    (out / "text-control.json").write_text(described + "\n", encoding="utf-8")
    draw(out / "text-control.png", figures)


def rows(figures: Sequence[TextFigure]) -> list[list[str]]:
    """Return the cells under ``COLUMNS``."""
    return [
        [
            figure.held_out,
            figure.labels,
            str(figure.utterances),
            f"{figure.ua:.3f}",
            f"{figure.low:.3f} to {figure.high:.3f}",
            f"{figure.chance:.3f}",
            f"{figure.lookup_ua:.3f}",
        ]
        for figure in figures
    ]


def reading(figures: Sequence[TextFigure], design: Design) -> list[str]:
    """Return what the figures say, in sentences."""
    crossed = (
        f"{design.complete} of {design.sentences} sentences are spoken in all {design.emotions} emotions; sentence and "
        f"emotion share {design.information_bits:.3f} bits."
    )
    leaks = [figure.held_out for figure in figures if figure.labels == "emotions" and figure.above_chance]
    verdict = (
        f"The words tell the emotion better than chance, with unseen {' and with unseen '.join(leaks)}."
        if leaks
        else "The words do not tell the emotion: no interval lies above chance."
    )
    blind = [figure.labels for figure in figures if figure.labels != "emotions" and not figure.above_chance]
    doubt = [f"But the control is blind: it does not find what is in {' and '.join(blind)} either."] if blind else []
    return [crossed, verdict, *doubt]


def markdown(figures: Sequence[TextFigure], design: Design, protocol: str) -> str:
    """Return the report as Markdown."""
    lines = [f"Protocol: {protocol}.", ""]
    lines += [f"| {' | '.join(row)} |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows(figures))]
    lines += ["", f"{MEANING[0].upper()}{MEANING[1:]}.", "", *reading(figures, design), "", "![UA](text-control.png)"]
    return "\n".join(lines) + "\n"


def as_values(figures: Sequence[TextFigure], design: Design, protocol: str) -> dict[str, object]:
    """Return the report as JSON values."""
    rounded = [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(figure).items()}
        | {"above_chance": figure.above_chance}
        for figure in figures
    ]
    crossing = asdict(design) | {"information_bits": round(design.information_bits, 4)}
    return {"protocol": protocol, "design": crossing, "figures": rounded}


def draw(path: Path, figures: Sequence[TextFigure]) -> None:
    """Draw UA with its interval against chance."""
    picture, axes = plt.subplots(figsize=(6, 1.2 + 0.5 * len(figures)), layout="constrained")
    for place, figure in enumerate(figures):
        axes.plot((figure.low, figure.high), (place, place), color="C0")
        axes.plot(figure.ua, place, "C0o")
        axes.plot(figure.chance, place, "k|", markersize=16)
    axes.set_yticks(range(len(figures)), [f"{figure.labels}, unseen {figure.held_out}" for figure in figures])
    axes.set_ylim(len(figures) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("UA of the words alone; bar: chance")
    picture.savefig(path, dpi=120)
    plt.close(picture)
