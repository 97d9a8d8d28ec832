"""TESS: 2 Canadian actresses, aged 26 and 64, 7 emotions, 200 words (Pichora-Fuller and Dupuis, 2020)."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from calibrate.corpora.base import Corpus, Utterance, code, fields

LAYOUT = "SPEAKER_word_emotion, such as OAF_back_angry.wav"

_NAME = re.compile(r"([A-Z]+)_([A-Za-z]+)_([a-z]+)")
# One file of the release, OA_bite_neutral.wav, misses the F.
_SPEAKERS = {"OAF": "tess-OAF", "YAF": "tess-YAF", "OA": "tess-OAF"}
_EMOTIONS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "pleasant surprise",
    "sad": "sad",
}


def parse(path: PurePath) -> Utterance:
    """Read ``OAF_back_angry``: the older speaker says "Say the word back"."""
    speaker, word, emotion = fields(_NAME, path, LAYOUT)
    return Utterance(
        path=Path(path),
        corpus="tess",
        speaker=code(_SPEAKERS, speaker, "speaker", path),
        emotion=code(_EMOTIONS, emotion, "emotion", path),
        gender="f",
        text=f"Say the word {word.lower()}",
        sentence=word.lower(),
    )


TESS = Corpus("tess", LAYOUT, tuple(_EMOTIONS.values()), parse)
