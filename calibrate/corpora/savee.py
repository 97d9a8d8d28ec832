"""SAVEE: 4 British men, 7 emotions (Haq and Jackson, 2009)."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from calibrate.corpora.base import Corpus, Utterance, code, fields

LAYOUT = "SPEAKER/emotion letters and number, such as DC/a01.wav or DC_a01.wav"

_NAME = re.compile(r"(?:([A-Z]{2})_)?([a-z]{1,2})[0-9]{2}")
_SPEAKERS = {name: f"savee-{name}" for name in ("DC", "JE", "JK", "KL")}
_EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}


def parse(path: PurePath) -> Utterance:
    """Read ``DC/a01``, or ``DC_a01`` as repackaged in one folder."""
    speaker, emotion = fields(_NAME, path, LAYOUT)
    return Utterance(
        path=Path(path),
        corpus="savee",
        speaker=code(_SPEAKERS, speaker or path.parent.name, "speaker", path),
        emotion=code(_EMOTIONS, emotion, "emotion", path),
        gender="m",
    )


SAVEE = Corpus("savee", LAYOUT, tuple(_EMOTIONS.values()), parse)
