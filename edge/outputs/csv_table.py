"""CSV, for a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from edge.errors import UsageError
from edge.event import Event

COLUMNS = (
    "path",
    "start_s",
    "end_s",
    "speaker",
    "adapted",
    "emotion",
    "confidence",
    "needs_review",
    "truncated",
    "error",
)


class CsvTable:
    """A file with one line per utterance or error, and one column per label after the others."""

    def __init__(self, file: Path, labels: Sequence[str]) -> None:
        self.name = str(file)
        self._file = file
        self._columns = (*COLUMNS, *labels)
        self._stream: TextIO | None = None

    def open(self) -> None:
        """Create the file, and write the heading; raises UsageError if that is not possible."""
        try:
            self._stream = self._file.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        except OSError as error:
            raise UsageError(f"cannot write {self._file}: {error.strerror}") from None
        self._writer = csv.DictWriter(self._stream, self._columns)
        self._writer.writeheader()

    def write(self, event: Event) -> None:
        """Write the line of an ``utterance`` or ``error`` event; the others have none."""
        if event.type == "error":
            self._writer.writerow({"path": event.path, "error": event.message})
        elif event.type == "utterance":
            values = event.to_dict()
            kept = {column: values[column] for column in COLUMNS if column in values}
            name = event.speaker.name if event.speaker else None
            self._writer.writerow(kept | {"speaker": name} | values["scores"])

    def close(self) -> None:
        """Close the file."""
        if self._stream:
            self._stream.close()
