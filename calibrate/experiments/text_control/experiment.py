"""The text control on a corpus."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from calibrate.corpora import read_corpus
from calibrate.corpora.labels import EMOTIONS, label_utterances, to_label
from calibrate.dataset import Part, label_indices
from calibrate.experiments.text_control.encoder import TextFeatures, load_text_encoder
from calibrate.experiments.text_control.figures import (
    Design,
    TextFigure,
    design_of,
    measure,
    measure_corpus,
    read_text_set,
    sentences_of,
)
from calibrate.report import Note, Picture, Report, Table, rounded
from edge.errors import UsageError

COLUMNS = ("held out", "labels", "utterances", "UA", "95 % interval", "chance", "lookup")
MEANING = (
    "held out: what no training utterance shares with the test utterance; lookup: the most frequent label of the same "
    "sentence in training; intervals over speakers and sentences"
)
logger = logging.getLogger(__name__)


def control_text(
    name: str, folder: Path, *, encoder: str, sanity: Path | None, finetune: bool, folds: int, seed: int
) -> Report:
    """Run the text control on a corpus.

    Args:
        name: of its reader.
        folder: where it lies.
        encoder: hub name or folder of a text encoder.
        sanity: CSV of texts that are known to carry emotions.
        finetune: the encoder learns along with the head.
        folds: at most, of speakers, sentences and texts.
        seed: of folds and heads.
    """
    part, emotions = read_transcripts(name, folder)
    checked = read_text_set(sanity) if sanity else None
    source = TextFeatures(load_text_encoder(encoder), finetune)
    figures = measure_corpus(source, part, emotions, folds, seed)
    if checked:
        texts, labels = checked
        figures.append(
            measure(source, texts, len(labels), sentences_of(texts), folds, seed, ("texts", texts.utterances[0].corpus))
        )
    how = "fine-tuned with its head" if finetune else "frozen under its head"
    label = encoder.rstrip("/").rpartition("/")[2]
    protocol = (
        f"{name}, {len(np.unique(part.speakers))} speakers; transcripts only; {label}, {how}; at most {folds} folds, "
        "everything answered once by a head that did not see what is held out"
    )
    return text_control_report(figures, design_of(part), f"{name}: the words alone", protocol)


def read_transcripts(name: str, folder: Path) -> tuple[Part, int]:
    """Read the utterances of a corpus that have an emotion of ours and a text; returns how many emotions, too.

    Raises:
        UsageError: none has a text.
    """
    labelled = label_utterances(read_corpus(name, folder).utterances)
    known = [utterance for utterance in labelled.utterances if utterance.text]
    if not known:
        raise UsageError(f"{folder}: no utterance of {name} has a transcript; the text control needs them")
    if len(known) < len(labelled.utterances):
        logger.warning("%d utterances have no transcript and are left out", len(labelled.utterances) - len(known))
    found = {to_label(utterance.emotion) for utterance in known}
    emotions = [emotion for emotion in EMOTIONS if emotion in found]
    return Part(known, label_indices(known, emotions)), len(emotions)


def text_control_report(figures: Sequence[TextFigure], design: Design, title: str, protocol: str) -> Report:
    """Return the report that is ``text-control.md``, ``.json`` and ``.png``."""
    rows = [
        (
            figure.held_out, figure.labels, figure.utterances, figure.ua, f"{figure.low:.3f} to {figure.high:.3f}",
            figure.chance, figure.lookup_ua,
        )
        for figure in figures
    ]  # fmt: skip
    described = [asdict(figure) | {"above_chance": figure.above_chance} for figure in figures]
    height = 1.2 + 0.5 * len(figures)
    return Report(
        ("text-control.md", "text-control.json"),
        title,
        protocol,
        rounded({"design": asdict(design), "figures": described}),
        [
            Table(COLUMNS, rows, caption=MEANING),
            *(Note(text) for text in reading(figures, design)),
            Picture("text-control.png", "UA", partial(_draw, figures=figures), (6, height)),
        ],
    )


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


def _draw(canvas: Figure, figures: Sequence[TextFigure]) -> None:
    """Draw UA with its interval against chance."""
    axes = canvas.subplots()
    for place, figure in enumerate(figures):
        axes.plot((figure.low, figure.high), (place, place), color="C0")
        axes.plot(figure.ua, place, "C0o")
        axes.plot(figure.chance, place, "k|", markersize=16)
    axes.set_yticks(range(len(figures)), [f"{figure.labels}, unseen {figure.held_out}" for figure in figures])
    axes.set_ylim(len(figures) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("UA of the words alone; bar: chance")
