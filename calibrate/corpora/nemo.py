"""nEMO: 9 Polish actors, 6 emotions, 90 sentences (Christop, 2024)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath

from calibrate.corpora.base import GENDERS, Corpus, Utterance, code, fields, find_beside, read_rows

LAYOUT = "SPK_emotion_sentence, such as WR0_surprised_64.wav"
TRANSCRIPTS = ("nemo-transcripts.tsv", "data.tsv")

_NAME = re.compile(r"([A-Z]{2}[0-9])_([a-z]+)_([0-9]{1,2})")
_EMOTIONS = {name: name for name in ("neutral", "happiness", "sadness", "anger", "fear", "surprised")}


def parse(path: PurePath) -> Utterance:
    """Read ``SPK_emotion_sentence``."""
    speaker, emotion, sentence = fields(_NAME, path, LAYOUT)
    return Utterance(
        path=Path(path),
        corpus="nemo",
        speaker=f"nemo-{speaker}",
        emotion=code(_EMOTIONS, emotion, "emotion", path),
        sentence=sentence,
    )


def annotator(folder: Path) -> Callable[[Utterance], Utterance]:
    """Add gender, age and text from the transcripts in or above the folder (``data.tsv`` in the release)."""
    table = find_beside(folder, *TRANSCRIPTS)
    rows = read_rows(table, ("file_id", "raw_text", "gender"), delimiter="\t") if table else []
    by_stem = {PurePath(row["file_id"]).stem: row for row in rows}

    def annotate(utterance: Utterance) -> Utterance:
        row = by_stem.get(utterance.path.stem)
        if row is None:
            return utterance
        age = row.get("age", "")
        return replace(
            utterance,
            gender=GENDERS.get(row["gender"].lower()),
            text=row["raw_text"] or None,
            age=int(age) if age.isdecimal() else None,
        )

    return annotate


NEMO = Corpus("nemo", LAYOUT, tuple(_EMOTIONS), parse, annotator)
