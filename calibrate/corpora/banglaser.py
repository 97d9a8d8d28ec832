"""BanglaSER: 34 Bangla speakers, 5 emotions, 3 sentences, recorded on phones and laptops (Das et al., 2022)."""

from __future__ import annotations

from pathlib import Path, PurePath

from calibrate.corpora.base import Corpus, Gender, Utterance, code, fields
from calibrate.corpora.ravdess import SEVEN_NUMBERS

LAYOUT = "03-01-EE-II-SS-RR-AA, two digits each, such as 03-01-04-02-03-01-15.wav"

# Three clips of actor 15 start with 01; they are audio like all others.
_MODALITIES = {"03": "audio only", "01": "audio only"}
_CHANNELS = {"01": "speech"}
_EMOTIONS = {"01": "happy", "02": "sad", "03": "angry", "04": "surprise", "05": "neutral"}
_INTENSITIES = {"01": 1.0, "02": 2.0}
_SENTENCES = {"01": "01", "02": "02", "03": "03"}
_TAKES = {"01": 1, "02": 2, "03": 3}
_ACTORS: dict[str, Gender] = {f"{actor:02d}": "m" if actor % 2 else "f" for actor in range(1, 35)}


def parse(path: PurePath) -> Utterance:
    """Read ``MM-VV-EE-II-SS-RR-AA``.

    The intensity is not kept: it follows from the emotion (angry and surprise strong, the others normal).
    """
    modality, channel, emotion, intensity, sentence, take, actor = fields(SEVEN_NUMBERS, path, LAYOUT)
    code(_MODALITIES, modality, "modality", path)
    code(_CHANNELS, channel, "vocal channel", path)
    code(_INTENSITIES, intensity, "intensity", path)
    code(_TAKES, take, "repetition", path)
    return Utterance(
        path=Path(path),
        corpus="banglaser",
        speaker=f"banglaser-{actor}",
        emotion=code(_EMOTIONS, emotion, "emotion", path),
        gender=code(_ACTORS, actor, "actor", path),
        sentence=code(_SENTENCES, sentence, "sentence", path),
    )


BANGLASER = Corpus("banglaser", LAYOUT, tuple(_EMOTIONS.values()), parse)
