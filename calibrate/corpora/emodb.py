"""EmoDB: 10 German actors, 7 emotions, 10 sentences (Burkhardt et al., 2005)."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from calibrate.corpora.base import Corpus, Gender, Utterance, code, fields

LAYOUT = "speaker, sentence, emotion letter and version without separators, such as 03a01Fa.wav"

_NAME = re.compile(r"([0-9]{2})([ab][0-9]{2})([A-Z])([a-z]?)")
_SPEAKERS: dict[str, Gender] = {
    "03": "m",
    "08": "f",
    "09": "f",
    "10": "m",
    "11": "m",
    "12": "m",
    "13": "f",
    "14": "f",
    "15": "m",
    "16": "f",
}
_EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
_TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


def parse(path: PurePath) -> Utterance:
    """Read ``03a01Fa``: speaker 03, sentence a01, emotion F, version a."""
    speaker, sentence, emotion, _ = fields(_NAME, path, LAYOUT)
    return Utterance(
        path=Path(path),
        corpus="emodb",
        speaker=f"emodb-{speaker}",
        emotion=code(_EMOTIONS, emotion, "emotion", path),
        gender=code(_SPEAKERS, speaker, "speaker", path),
        text=code(_TEXTS, sentence, "sentence", path),
        sentence=sentence,
    )


EMODB = Corpus("emodb", LAYOUT, tuple(_EMOTIONS.values()), parse)
