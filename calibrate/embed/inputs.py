"""What is embedded: the utterances of a reader, or the files of a folder, and what is known of each."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from calibrate import processes
from calibrate.cache import content_of
from calibrate.corpora import CORPORA, Utterance, read_corpus
from calibrate.corpora.base import audio_files
from calibrate.corpora.labels import LABELS, to_label
from edge.errors import UsageError, one_of

logger = logging.getLogger(__name__)

PLAIN = "audio"
"""Instead of a reader: every audio file of a folder, of which nothing is known."""
COLUMNS = ("path", "corpus", "speaker", "emotion", "label", "gender")


def list_utterances(corpus: str, folder: Path, strict: bool = False) -> list[Utterance]:
    """Return the utterances of a corpus, or, for ``audio``, every audio file of the folder.

    Raises:
        UsageError: there are none.
    """
    if corpus == PLAIN:
        found = [Utterance(folder / path, PLAIN, "", "") for path in audio_files(folder)]
        if not found:
            raise UsageError(f"{folder}: holds no audio file")
        return found
    one_of("corpus", corpus, (PLAIN, *CORPORA))
    listing = read_corpus(corpus, folder, strict)
    if listing.refused and processes.is_main():
        logger.warning(
            "%d audio files are not %s and are left out; 'affectd-calibrate corpus %s %s' says why",
            len(listing.refused), corpus, corpus, folder,
        )  # fmt: skip
    return listing.utterances


def cells(utterance: Utterance, folder: Path) -> tuple[str, ...]:
    """Return what ``COLUMNS`` says of an utterance; its path is relative to the corpus, or to the table that is one."""
    base = folder.parent if folder.is_file() else folder
    label = to_label(utterance.emotion, LABELS) if utterance.emotion else None
    path = Path(os.path.relpath(utterance.path, base)).as_posix()
    return path, utterance.corpus, utterance.speaker, utterance.emotion, label or "", utterance.gender or ""


def fingerprint(utterances: Sequence[Utterance], folder: Path) -> str:
    """Return what changes when the list, a file or what is known of it does."""
    digest = hashlib.sha256()
    for utterance in utterances:
        digest.update(json.dumps([*cells(utterance, folder), content_of(utterance.path)]).encode())
    return digest.hexdigest()
