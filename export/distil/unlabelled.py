"""The speech of a distillation: a part of the corpora, more speech without labels, and only what can be opened."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calibrate.corpora import Utterance, require_trainable
from calibrate.dataset import Part
from edge.analyze import find_audio
from edge.audio import open_audio
from edge.errors import AudioFileError
from export.distil.imitation import UNLABELLED

logger = logging.getLogger(__name__)


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
