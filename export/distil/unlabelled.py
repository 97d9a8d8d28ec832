"""The speech of a distillation: a part of the corpora, more speech without labels, and only what can be opened."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from calibrate.corpora import Utterance, require_trainable
from calibrate.dataset import Part
from calibrate.splits import Split, make_splits
from edge.decoding import open_audio
from edge.errors import AudioFileError, UsageError
from edge.recordings import find_audio
from export.distil.imitation import UNLABELLED

logger = logging.getLogger(__name__)


WATCHED = (0.9, 0.1, 0.0)
"""Shares of each corpus's speakers that teach and that are watched, where a recipe leaves nobody to validate on."""


def watched(parts: Mapping[Split, Part]) -> tuple[Part, Part]:
    """Return who teaches a student, and whom it is watched on; the teacher may have learned from both.

    Who is only ever tested on is not watched either: the best epoch is chosen by it.
    """
    train, validation = parts["train"], parts["validation"]
    if validation.utterances:
        return train, validation
    aside: set[str] = set()
    for corpus in np.unique(train.corpora):
        mine = train.select(train.corpora == corpus)
        if len(np.unique(mine.speakers)) > 1 and len(np.unique(mine.labels)) > 1:
            splits = make_splits(mine.utterances, WATCHED)
            aside |= {speaker for speaker, split in splits.items() if split == "validation"}
    if not aside:
        raise UsageError("no corpus has speakers enough to watch a student by: two, and several labels")
    held = np.isin(train.speakers, list(aside))
    return train.select(~held), train.select(held)


def as_speech(part: Part) -> Part:
    """Return the part with every corpus weighing the same, since imitation and the ranges of int8 need no labels.

    A corpus of one label, everyday speech, is unlabelled: of more weight, its label would be learned instead.
    """
    labels = part.labels.copy()
    for corpus in np.unique(part.corpora):
        mine = part.corpora == corpus
        if len(np.unique(labels[mine])) == 1:
            labels[mine] = UNLABELLED
    origins = {name: origin.model_copy(update={"weight": 1.0}) for name, origin in part.origins.items()}
    return Part(part.utterances, labels, origins)


def with_unlabelled(part: Part, folders: Sequence[Path]) -> Part:
    """Return a part with the audio files of folders added, each folder a corpus of its own, unlabelled.

    Raises:
        UsageError: a folder is missing or holds no audio, or what may only be evaluated on.
    """
    utterances = list(part.utterances)
    for folder in folders:
        utterances += [Utterance(path, corpus=str(folder), speaker="", emotion="") for path in find_audio([folder])]
    require_trainable(utterance.path for utterance in utterances)
    labels = np.full(len(utterances), UNLABELLED)
    labels[: len(part.labels)] = part.labels
    return Part(utterances, labels, part.origins)


def readable(part: Part) -> Part:
    """Return the utterances whose files can be opened; the others are logged."""
    return part.select(np.array([_opens(path) for path in part.paths], np.bool_))


def _opens(path: Path) -> bool:
    try:
        open_audio(path).close()
    except AudioFileError as error:
        logger.warning("%s; it is left out", error)
        return False
    return True
