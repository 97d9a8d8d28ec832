"""What every corpus reader shares: the utterance, the walk through a folder, and the reading of tables."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Literal, NamedTuple, TypeVar

from edge.decoding import AUDIO_EXTENSIONS
from edge.errors import UsageError, nearest
from edge.spreadsheet import plain

Gender = Literal["f", "m"]
GENDERS: dict[str, Gender] = {"f": "f", "m": "m", "female": "f", "male": "m"}

T = TypeVar("T")
Scale = tuple[float, float]


@dataclass(frozen=True)
class Utterance:
    """One recording and what its corpus says about it."""

    path: Path
    corpus: str
    speaker: str
    """Unique across corpora: ``ravdess-01``."""
    emotion: str
    """The corpus's own name, see :func:`calibrate.corpora.labels.to_label`."""
    gender: Gender | None = None
    intensity: float | None = None
    """In the corpus's own scale, see ``Corpus.scales``: RAVDESS 1 normal, 2 strong; CREMA-D 0 low, 1 medium, 2 high."""
    text: str | None = None
    valence: float | None = None
    """Valence, arousal and dominance are in the corpus's own scale: MSP-Podcast 1 to 7."""
    arousal: float | None = None
    dominance: float | None = None
    sentence: str | None = None
    """The corpus's own code of what is said: the same words have the same code, whoever says them and how."""
    age: int | None = None
    """In years, at the recording."""
    race: str | None = None
    """Race and ethnicity as the corpus names them."""
    ethnicity: str | None = None
    perceived: str | None = None
    """What most listeners perceived, in the words of ``emotion``; ``happy:neutral`` when they were divided."""


class Refusal(NamedTuple):
    """An audio file or table row that is not part of the corpus, and the rule it broke."""

    path: Path
    reason: str


@dataclass(frozen=True)
class CorpusListing:
    """What a folder holds, both sorted by path."""

    utterances: list[Utterance]
    refused: list[Refusal]


def _nothing_to_add(_folder: Path) -> Callable[[Utterance], Utterance]:
    return lambda utterance: utterance


@dataclass(frozen=True)
class Corpus:
    """A corpus that keeps its labels in its file names."""

    name: str
    layout: str
    """How a file is named, for error messages."""
    emotions: tuple[str, ...]
    parse: Callable[[PurePath], Utterance]
    """A path relative to the folder becomes an utterance; raises UsageError with the rule that the name breaks."""
    annotator: Callable[[Path], Callable[[Utterance], Utterance]] = _nothing_to_add
    """Reads the tables beside the recordings, if any, and returns what adds their facts to an utterance."""
    evaluation_only: bool = False
    """Its licence does not allow weights that ship to have learned from it."""
    scales: Mapping[str, Scale] = field(default_factory=dict)
    """Value to the scale that it is annotated on, lowest and highest."""
    halved: bool = False
    """Half of its speakers are only ever tested on, see ``calibrate.splits.half_of``."""

    def read(self, folder: Path) -> CorpusListing:
        """Parse every audio file under ``folder``.

        Repackaged corpora, and CREMA-D with its MP3 folder, hold recordings twice; the WAV is kept, the copy refused.
        """
        files = sorted(audio_files(folder), key=lambda path: path.suffix.lower() != ".wav")
        annotate = self.annotator(folder)
        utterances: dict[tuple[str, str], Utterance] = {}
        refused: list[Refusal] = []
        for relative in files:
            try:
                utterance = self.parse(relative)
                same = utterances.get((utterance.speaker, relative.stem))
                if same:
                    raise UsageError(f"{relative.name!r} is a copy of {same.path}")
            except UsageError as error:
                refused.append(Refusal(folder / relative, str(error)))
            else:
                utterances[utterance.speaker, relative.stem] = annotate(replace(utterance, path=folder / relative))
        return CorpusListing(sorted(utterances.values(), key=lambda utterance: utterance.path), sorted(refused))


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files under ``folder``, recursively, without hidden ones, relative to it and sorted.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: {'is not a folder' if folder.exists() else 'no such folder'}")
    relative = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in AUDIO_EXTENSIONS)
    return sorted(
        path for path in relative if not any(part.startswith(".") for part in path.parts) and (folder / path).is_file()
    )


def fields(pattern: re.Pattern[str], path: PurePath, layout: str) -> tuple[str, ...]:
    """Split the name of ``path`` (without its extension) into the groups of ``pattern``."""
    found = pattern.fullmatch(path.stem)
    if found is None:
        raise UsageError(f"{path.name!r} is not named {layout}")
    return found.groups()


def code(codes: Mapping[str, T], value: str, field: str, path: PurePath) -> T:
    """Return what a code in a file name stands for."""
    if value not in codes:
        allowed = list(codes)
        names = ", ".join(allowed) if len(allowed) <= 16 else f"{allowed[0]} to {allowed[-1]}"
        raise UsageError(f"{path.name!r}: {field} {value!r} is not one of {names}{nearest(value, allowed)}")
    return codes[value]


def find_beside(folder: Path, *names: str) -> Path | None:
    """Return the first of ``names`` that lies in ``folder`` or directly above it."""
    candidates = (place / name for name in names for place in (folder, folder.resolve().parent))
    return next((path for path in candidates if path.is_file()), None)


def read_rows(table: Path, required: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """Read a table with a header line as one mapping of column to stripped text a row; absent cells are empty.

    Raises:
        UsageError: the table is missing, is not UTF-8 text, or lacks a required column.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, restkey="", restval="")
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [{column: plain(row[column].strip()) for column in columns} for row in reader]
    except OSError as error:
        raise UsageError(f"{table}: cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{table}: is not a table in UTF-8 text: {error}") from None
    for column in required:
        if column not in columns:
            raise UsageError(f"{table}: has no column {column!r}, only {', '.join(columns)}{nearest(column, columns)}")
    return rows
