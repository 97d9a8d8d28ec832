"""CSV, for a spreadsheet."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from edge.errors import UsageError
from edge.event import Event
from edge.outputs.text import TextOutput
from edge.spreadsheet import CsvWriter

COLUMNS = (
    "path",
    "start_s",
    "end_s",
    "speaker",
    "adapted",
    "room",
    "emotion",
    "confidence",
    "speech",
    "needs_review",
    "truncated",
    "error",
    "note",
)


class CsvTable(TextOutput):
    """One line per utterance, error, or remark on a file, and one column per label and value after the others.

    The columns mean what they do in events; ``note`` is the ``message`` of an utterance or a ``status``. Text that a
    spreadsheet would run is marked, see ``edge.spreadsheet``.
    """

    kind = "CSV"
    marks = (",".join(COLUMNS[:3]).encode(),)

    def __init__(self, target: Path | TextIO, outputs: Sequence[str], append: bool = False) -> None:
        super().__init__(target, append)
        self._columns = (*COLUMNS, *outputs)

    def open(self) -> None:
        """Open, and write the heading; see ``TextOutput``. A file with other columns is a UsageError."""
        super().open()
        if not self.is_continued:
            self._write_row(dict(zip(self._columns, self._columns, strict=True)))
            return
        assert isinstance(self._target, Path)
        with self._target.open(encoding="utf-8", errors="replace") as file:
            if file.readline().rstrip("\r\n") != ",".join(self._columns):
                raise UsageError(f"cannot continue {self._target}: it has other columns; name another file")

    def write(self, event: Event) -> None:
        """Write the line of an ``utterance`` or ``error`` event, or of a ``status`` of a file; the others have none.

        What was not read from a file has the name of its source for a path.
        """
        row: dict[str, object] = {"path": event.path or event.source}
        if event.type == "error":
            self._write_row(row | {"error": event.message})
        elif event.type == "status" and event.path:
            self._write_row(row | {"note": event.message})
        elif event.type == "utterance":
            values = event.to_dict()
            row |= {column: values[column] for column in COLUMNS if column in values}
            row["note"] = event.message
            row |= {name: each["value"] for name, each in values.get("values", {}).items()}
            self._write_row(row | {"speaker": event.speaker.name if event.speaker else None} | values["scores"])

    def _write_row(self, row: Mapping[str, object]) -> None:
        line = io.StringIO()
        CsvWriter(line).writerow(row.get(column, "") for column in self._columns)
        self._write(line.getvalue())
