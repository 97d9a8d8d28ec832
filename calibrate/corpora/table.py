"""Corpora that keep their labels in a table: the plain CSV for anyone's own recordings.

Columns ``path,speaker,emotion`` and, optionally, ``gender,intensity,text,valence,arousal,dominance``; others are
ignored. Paths are relative to the table. The corpus is named after the table: ``office.csv`` has ``office-anna``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from calibrate.corpora.base import GENDERS, CorpusListing, Refusal, Scale, Utterance, read_rows
from calibrate.corpora.labels import KNOWN_EMOTIONS, to_label
from edge.decoding import AUDIO_EXTENSIONS
from edge.errors import UsageError, nearest

REQUIRED_COLUMNS = ("path", "speaker", "emotion")
COLUMNS = (*REQUIRED_COLUMNS, "gender", "intensity", "text", "valence", "arousal", "dominance")


class Source(NamedTuple):
    """Where a table corpus lies."""

    table: Path
    audio: Path
    """The folder that the table's paths are relative to."""
    corpus: str


@dataclass(frozen=True)
class TableCorpus:
    """A corpus that keeps its labels in a table."""

    name: str
    layout: str
    emotions: tuple[str, ...]
    required: tuple[str, ...]
    locate: Callable[[Path], Source]
    plain: Callable[[Mapping[str, str]], dict[str, str]] = dict
    """A row of the table becomes a row of the plain CSV."""
    scales: Mapping[str, Scale] = field(default_factory=dict)
    """Value to the scale that it is annotated on, lowest and highest; of others the recipe has to say it."""

    def read(self, folder: Path) -> CorpusListing:
        """Parse every row of the table that ``folder`` is or holds."""
        source = self.locate(folder)
        utterances: dict[Path, Utterance] = {}
        refused: list[Refusal] = []
        rows = map(self.plain, read_rows(source.table, self.required))
        for number, row in enumerate(rows, start=1):
            path = source.audio / row["path"]
            try:
                if path in utterances:
                    raise UsageError("is listed twice")
                utterances[path] = parse_row(row, source)
            except UsageError as error:
                refused.append(Refusal(path, f"{source.table.name}, row {number}: {row['path']!r}: {error}"))
        return CorpusListing(sorted(utterances.values(), key=lambda utterance: utterance.path), sorted(refused))


def parse_row(row: Mapping[str, str], source: Source) -> Utterance:
    """Read one row of the plain CSV.

    Raises:
        UsageError: with the rule that the row breaks.
    """
    path = source.audio / row["path"]
    if path.suffix.lower() not in AUDIO_EXTENSIONS:
        raise UsageError(f"{path.suffix!r} is not one of {', '.join(sorted(AUDIO_EXTENSIONS))}")
    if not os.path.isfile(path):
        raise UsageError("no such file")
    if not row["speaker"]:
        raise UsageError("has no speaker, so no split could keep it apart from the others of that speaker")
    to_label(row["emotion"])
    gender = row.get("gender", "")
    if gender and gender.lower() not in GENDERS:
        raise UsageError(f"gender {gender!r} is not empty or one of {', '.join(GENDERS)}{nearest(gender, GENDERS)}")
    return Utterance(
        path=path,
        corpus=source.corpus,
        speaker=f"{source.corpus}-{row['speaker']}",
        emotion=row["emotion"],
        gender=GENDERS.get(gender.lower()),
        intensity=_number(row, "intensity"),
        text=row.get("text") or None,
        valence=_number(row, "valence"),
        arousal=_number(row, "arousal"),
        dominance=_number(row, "dominance"),
    )


def _number(row: Mapping[str, str], column: str) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{column} {text!r} is not a finite number")
    return number


def _locate(folder: Path) -> Source:
    """Accept the CSV itself or a folder with exactly one."""
    tables = [folder] if folder.is_file() else sorted(folder.glob("[!.]*.csv"))
    if len(tables) != 1:
        found = ", ".join(table.name for table in tables) or "none"
        raise UsageError(f"{folder}: must be a CSV file or a folder that holds exactly one; found {found}")
    return Source(tables[0], tables[0].parent, tables[0].stem)


CSV = TableCorpus("csv", f"a CSV with columns {','.join(COLUMNS)}", KNOWN_EMOTIONS, REQUIRED_COLUMNS, _locate)
