"""ESD: 10 Mandarin (0001 to 0010) and 10 English (0011 to 0020) speakers, 5 emotions (Zhou et al., 2022)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath

from calibrate.corpora.base import Corpus, Gender, Utterance, code, fields
from edge.errors import UsageError

LAYOUT = "SPEAKER/Emotion/SPEAKER_NUMBER, such as 0011/Angry/0011_000351.wav"
MANDARIN = tuple(f"esd-{speaker:04d}" for speaker in range(1, 11))
PARALLEL = 350
"""Sentences of a language, which every speaker says in one emotion after the other."""

_NAME = re.compile(r"([0-9]{4})_([0-9]{6})")
_FEMALE = {1, 2, 3, 7, 9, 15, 16, 17, 18, 19}
_SPEAKERS: dict[str, Gender] = {f"{speaker:04d}": "f" if speaker in _FEMALE else "m" for speaker in range(1, 21)}
_EMOTIONS = {name: name.lower() for name in ("Angry", "Happy", "Neutral", "Sad", "Surprise")}
_PARTITIONS = {"train", "evaluation", "test"}


def parse(path: PurePath) -> Utterance:
    """Read ``0011/Angry/0011_000351``, also inside a ``train``, ``evaluation`` or ``test`` folder."""
    speaker, number = fields(_NAME, path, LAYOUT)
    folders = [part for part in path.parent.parts if part not in _PARTITIONS]
    if not folders:
        raise UsageError(f"{path.name!r} is in no emotion folder: the layout is {LAYOUT}")
    return Utterance(
        path=Path(path),
        corpus="esd",
        speaker=f"esd-{speaker}",
        emotion=code(_EMOTIONS, folders[-1], "emotion folder", path),
        gender=code(_SPEAKERS, speaker, "speaker", path),
        sentence=f"{'zh' if f'esd-{speaker}' in MANDARIN else 'en'}-{(int(number) - 1) % PARALLEL + 1:03d}",
    )


def annotator(folder: Path) -> Callable[[Utterance], Utterance]:
    """Add the text from the ``0011/0011.txt`` files: number, text and emotion between tabs."""
    transcripts = sorted(folder.rglob("[0-9][0-9][0-9][0-9].txt"))
    lines = (line.split("\t") for path in transcripts for line in _decode(path.read_bytes()).splitlines())
    texts = {cells[0].strip(): cells[1].strip() for cells in lines if len(cells) > 1}

    def annotate(utterance: Utterance) -> Utterance:
        return replace(utterance, text=texts.get(utterance.path.stem) or None)

    return annotate


def _decode(content: bytes) -> str:
    """Decode a transcript; the release mixes UTF-8, UTF-16 and GBK."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("gb18030", errors="replace")


ESD = Corpus("esd", LAYOUT, tuple(_EMOTIONS.values()), parse, annotator)
