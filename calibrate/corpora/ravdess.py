"""RAVDESS: 24 North American actors, 8 emotions, 2 sentences (Livingstone and Russo, 2018)."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from calibrate.corpora.base import Corpus, Gender, Utterance, code, fields
from edge.errors import UsageError

LAYOUT = "03-01-EE-II-SS-RR-AA, two digits each, such as 03-01-06-01-02-01-12.wav"
SEVEN_NUMBERS = re.compile("-".join(["([0-9]{2})"] * 7))

_MODALITIES = {"01": "audio and video", "02": "video only", "03": "audio only"}
_CHANNELS = {"01": "speech", "02": "song"}
_EMOTIONS = dict(
    zip(
        ("01", "02", "03", "04", "05", "06", "07", "08"),
        ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
        strict=True,
    )
)
_INTENSITIES = {"01": 1.0, "02": 2.0}
_TEXTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
_TAKES = {"01": 1, "02": 2}
_ACTORS: dict[str, Gender] = {f"{actor:02d}": "m" if actor % 2 else "f" for actor in range(1, 25)}


def parse(path: PurePath) -> Utterance:
    """Read ``MM-VV-EE-II-SS-RR-AA``; only speech (VV 01) recorded as audio (MM 03) belongs here."""
    modality, channel, emotion, intensity, sentence, take, actor = fields(SEVEN_NUMBERS, path, LAYOUT)
    medium = code(_MODALITIES, modality, "modality", path), code(_CHANNELS, channel, "vocal channel", path)
    if medium != ("audio only", "speech"):
        raise UsageError(f"{path.name!r} is {medium[1]}, {medium[0]}; only speech recorded as audio (03-01) is read")
    code(_TAKES, take, "repetition", path)
    return Utterance(
        path=Path(path),
        corpus="ravdess",
        speaker=f"ravdess-{actor}",
        emotion=code(_EMOTIONS, emotion, "emotion", path),
        gender=code(_ACTORS, actor, "actor", path),
        intensity=code(_INTENSITIES, intensity, "intensity", path),
        text=code(_TEXTS, sentence, "sentence", path),
        sentence=sentence,
    )


RAVDESS = Corpus("ravdess", LAYOUT, tuple(_EMOTIONS.values()), parse, scales={"intensity": (1.0, 2.0)})
