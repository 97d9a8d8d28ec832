"""The emotions of enrolment clips, where they are known: a CSV file with the header ``path,emotion``."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from edge.errors import UsageError, nearest
from edge.spreadsheet import plain

COLUMNS = ("path", "emotion")


def read_labels(file: Path, allowed: Sequence[str]) -> dict[str, str]:
    """Return the emotion of each file by its real path, see ``real_path``.

    A path is relative to the CSV file's folder, or else to the current one. An empty emotion is an unknown one.

    Args:
        file: UTF-8, with the columns ``path`` and ``emotion``, and others that are ignored.
        allowed: the bundle's labels.

    Raises:
        UsageError: the file cannot be read, or a line names a file that does not exist, a label that is not allowed,
            or another label than an earlier line.
    """
    labels: dict[str, str] = {}
    for number, row in _rows(file):
        path, emotion = (plain(row[column].strip()) for column in COLUMNS)
        place = f"{file}: line {number}"
        found = next((str(option) for option in (file.parent / path, path) if path and os.path.isfile(option)), None)
        if found is None:
            raise UsageError(f"{place}: no file {path!r}{nearest(path, _neighbours(file.parent / path, path))}")
        if emotion and emotion not in allowed:
            raise UsageError(
                f"{place}: emotion {emotion!r} is not one of {', '.join(allowed)}{nearest(emotion, allowed)}"
            )
        earlier = labels.setdefault(real_path(found), emotion)
        if earlier != emotion:
            raise UsageError(f"{place}: {path!r} is {emotion!r}, but an earlier line says {earlier!r}")
    return {path: emotion for path, emotion in labels.items() if emotion}


def real_path(path: str | Path) -> str:
    """Return what all ways to write a path have in common."""
    return os.path.realpath(path)


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the lines by their numbers."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restval="")
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(f"{file}: has no column {' and no '.join(missing)}; the header is {','.join(COLUMNS)}")
            return [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, csv.Error) as error:  # not UTF-8, or a line that is no CSV
        raise UsageError(f"{file}: is no CSV file in UTF-8: {error}") from None


def _neighbours(place: Path, path: str) -> list[str]:
    """Return files that may have been meant, written as ``path`` is."""
    folder = os.path.dirname(path)
    try:
        return [os.path.join(folder, entry.name) for entry in os.scandir(place.parent) if entry.is_file()]
    except (OSError, ValueError):
        return []
