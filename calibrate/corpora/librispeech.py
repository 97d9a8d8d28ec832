"""LibriSpeech: audiobooks read in English, without labels (Panayotov et al., 2015); here it is all neutral."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from calibrate.corpora.base import Corpus, Utterance, fields

LAYOUT = "speaker-chapter-utterance, such as 84-121123-0000.flac"

_NAME = re.compile(r"([0-9]+)-([0-9]+)-([0-9]+)")


def parse(path: PurePath) -> Utterance:
    """Read ``84-121123-0000``: speaker, chapter, utterance. Nobody acts, so that everyone is neutral."""
    speaker, chapter, utterance = fields(_NAME, path, LAYOUT)
    return Utterance(
        path=Path(path),
        corpus="librispeech",
        speaker=f"librispeech-{speaker}",
        emotion="neutral",
        sentence=f"{chapter}-{utterance}",
    )


LIBRISPEECH = Corpus("librispeech", LAYOUT, ("neutral",), parse, halved=True)
