"""Tables beside recordings, whatever their columns are called."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from calibrate.corpora.base import audio_files, read_rows
from calibrate.corpora.table import REQUIRED_COLUMNS
from edge.decoding import AUDIO_EXTENSIONS
from edge.errors import UsageError, one_of

_PATHS = "path file filename filepath audio audiofile audiopath audiofilepath clip recording wav wavfile wavpath"
_LABELS = "emotion label emotionlabel affect category class mood target"
_SPEAKERS = (
    "speaker speakerid speakername spk spkid spkr spkrid actor actorid clientid participant participantid person "
    "personid subject subjectid user userid voice voiceid"
)


class Columns(NamedTuple):
    """Names of the columns; None is looked for by what such columns are usually called."""

    path: str | None = None
    label: str | None = None
    speaker: str | None = None


class Header(NamedTuple):
    """The first line of a table."""

    delimiter: str
    columns: list[str]


def header_of(table: Path) -> Header:
    """Return the columns of a table, and what separates them: comma, semicolon or tab.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{table}: is not a table in UTF-8 text: {error}") from None
    delimiter = max(",;\t", key=line.count)
    return Header(delimiter, [column.strip() for column in next(csv.reader([line], delimiter=delimiter), [])])


def tables_in(folder: Path, wanted: Columns) -> list[Path]:
    """Return the tables of a folder, or the file itself, that have a column of paths and one of labels."""
    files = (
        [folder] if folder.is_file() else sorted(file for end in ("csv", "tsv") for file in folder.glob(f"[!.]*.{end}"))
    )
    found = []
    for file in files:
        try:
            columns = header_of(file).columns
        except UsageError:
            continue
        if _find(wanted.path, _PATHS, columns) and _find(wanted.label, _LABELS, columns):
            found.append(file)
    return found


class Row(NamedTuple):
    """A row that leads to a recording."""

    path: Path
    label: str
    speaker: str


class Table(NamedTuple):
    """What a table says."""

    file: Path
    columns: Columns
    rows: list[Row]
    refused: list[str]
    plain: bool
    """Whether the reader ``csv`` takes it as it is."""


def read_labels(folder: Path, tables: Sequence[Path], wanted: Columns) -> Table:
    """Read the one table of a folder.

    Raises:
        UsageError: there is none, there are several, or it has no such columns.
    """
    if not tables and not folder.is_file():
        raise UsageError(
            f"{folder}: holds no CSV with a column of paths and one of labels; --path-column, --label-column name them"
        )
    if len(tables) > 1:
        several = ", ".join(table.name for table in tables)
        raise UsageError(f"{folder}: holds several tables, {several}; give the one that counts in the folder's place")
    file = tables[0] if tables else folder
    delimiter, columns = header_of(file)
    names = [
        _named(file, option, _find(name, usual, columns), name, columns)
        for option, name, usual in zip(("path", "label", "speaker"), wanted, (_PATHS, _LABELS, _SPEAKERS), strict=True)
    ]
    return _read(file, delimiter, names, columns)


def _named(file: Path, option: str, found: str | None, wanted: str | None, columns: Sequence[str]) -> str:
    """Return a column, empty where there is none that says who speaks."""
    if wanted is not None:
        return one_of(f"--{option}-column", wanted, columns)
    if found is None and option != "speaker":
        raise UsageError(f"{file}: which column is the {option}? --{option}-column, one of {', '.join(columns)}")
    return found or ""


def _read(file: Path, delimiter: str, names: Sequence[str], columns: Sequence[str]) -> Table:
    path_column, label_column, speaker_column = names
    places = _Places(file.parent)
    rows: dict[Path, Row] = {}
    refused: list[str] = []
    is_plain = delimiter == "," and sorted(names) == sorted(REQUIRED_COLUMNS) and names[0] == "path"
    named = [name for name in names if name]
    for number, row in enumerate(read_rows(file, named, delimiter), start=1):
        path = places.find(row[path_column])
        speaker = row[speaker_column] if speaker_column else ""
        reason = "no such recording" if path is None else "is listed twice" if path in rows else ""
        reason = reason or ("" if row[label_column] else "has no label")
        reason = reason or ("has no speaker" if speaker_column and not speaker else "")
        if reason or path is None:
            refused.append(f"{file.name}, row {number}: {row[path_column]!r}: {reason}")
            continue
        is_plain = is_plain and path == file.parent / row[path_column]
        rows[path] = Row(path, row[label_column], speaker)
    return Table(file, Columns(*names), list(rows.values()), refused, is_plain)


class _Places:
    """Finds recordings that a table names: relative to it, or, by a name that only one has, anywhere below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_name: dict[str, list[Path]] = {}

    def find(self, name: str) -> Path | None:
        path = self.folder / name
        if path.suffix.lower() in AUDIO_EXTENSIONS and path.is_file():
            return path
        if not self._by_name:
            for found in audio_files(self.folder):
                for key in (found.name, found.stem):
                    self._by_name.setdefault(key, []).append(self.folder / found)
        same = self._by_name.get(Path(name).name, [])
        return same[0] if len(same) == 1 else None


def _find(wanted: str | None, usual: str, columns: Iterable[str]) -> str | None:
    """Return the column of a name, or the first that is called as usual; None where there is none."""
    if wanted is not None:
        return wanted if wanted in columns else None
    plain = {"".join(char for char in column.casefold() if char.isalnum()): column for column in reversed([*columns])}
    return next((plain[name] for name in usual.split() if name in plain), None)
