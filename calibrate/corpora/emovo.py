"""EMOVO: 6 Italian actors, 7 emotions, 14 sentences (Costantini et al., 2014)."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from calibrate.corpora.base import Corpus, Gender, Utterance, code, fields

LAYOUT = "emotion-speaker-sentence, such as dis-f1-b1.wav"

_NAME = re.compile(r"([a-z]{3})-([a-z][0-9])-([a-z][0-9])")
_SPEAKERS: dict[str, Gender] = {"f1": "f", "f2": "f", "f3": "f", "m1": "m", "m2": "m", "m3": "m"}
_EMOTIONS = {
    "dis": "disgusto",
    "gio": "gioia",
    "neu": "neutro",
    "pau": "paura",
    "rab": "rabbia",
    "sor": "sorpresa",
    "tri": "tristezza",
}


def parse(path: PurePath) -> Utterance:
    """Read ``dis-f1-b1``: emotion, speaker, sentence."""
    emotion, speaker, sentence = fields(_NAME, path, LAYOUT)
    return Utterance(
        path=Path(path),
        corpus="emovo",
        speaker=f"emovo-{speaker}",
        emotion=code(_EMOTIONS, emotion, "emotion", path),
        gender=code(_SPEAKERS, speaker, "speaker", path),
        sentence=sentence,
    )


EMOVO = Corpus("emovo", LAYOUT, tuple(_EMOTIONS.values()), parse, evaluation_only=True)
