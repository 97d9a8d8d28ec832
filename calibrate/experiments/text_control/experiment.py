"""The text control on a corpus."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from calibrate.corpora import read_corpus
from calibrate.corpora.labels import EMOTIONS, label_utterances, to_label
from calibrate.dataset import Part, label_indices
from calibrate.experiments.text_control.encoder import TextFeatures, load_text_encoder
from calibrate.experiments.text_control.figures import (
    design_of,
    measure,
    measure_corpus,
    read_text_set,
    sentences_of,
)
from calibrate.experiments.text_control.report import text_control_report
from calibrate.report import Report
from edge.errors import UsageError

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
