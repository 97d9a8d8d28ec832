"""From settings and the command line to outputs."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from edge.folders import expanded
from edge.journal import check_journal, journal_paths
from edge.outputs.base import Output
from edge.outputs.csv_table import CsvTable
from edge.outputs.journal import JournalOutput
from edge.outputs.json_lines import JsonLines
from edge.outputs.live_table import LiveTable
from edge.settings import OutputSettings

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def open_output(json: bool) -> Output:
    """Return JSON lines on standard output when asked for or when it is no terminal, otherwise a live table."""
    return _on_standard_output("json" if json or not sys.stdout.isatty() else "table", ())


def wanted_outputs(settings: Sequence[OutputSettings], json: bool) -> list[OutputSettings]:
    """Return what the outputs are: those of the settings, or without any the one of ``open_output``."""
    if json or not settings:
        shown = OutputSettings(type="json" if json or not sys.stdout.isatty() else "table")
        return [*(output for output in settings if not output.is_shown), shown]
    return list(settings)


def open_as(output: OutputSettings, columns: Sequence[str], store_folder: Path | None = None) -> Output:
    """Return an output; raises UsageError where its file holds something else, which would be lost."""
    if output.is_shown:
        return _on_standard_output(output.type, columns)
    return _journal(output, store_folder) if output.type == "journal" else _in_file(output, columns)


def _journal(output: OutputSettings, store_folder: Path | None) -> Output:
    path, *_ = journal_paths([output], store_folder)
    check_journal(path)
    return JournalOutput(path, store_folder, output.days)


def _in_file(output: OutputSettings, columns: Sequence[str]) -> Output:
    path = expanded(output.path)
    opened = CsvTable(path, columns, output.append) if output.type == "csv" else JsonLines(path, output.append)
    opened.check(path)
    return opened


def _on_standard_output(kind: str, columns: Sequence[str]) -> Output:
    stream = _unbuffered(sys.stdout)
    if kind == "table":
        return LiveTable(Console(file=stream))
    return CsvTable(stream, columns) if kind == "csv" else JsonLines(stream)


class _Descriptor(io.FileIO):
    """A file without a buffer, which a thread may wait in while the interpreter exits."""

    def write(self, data: ReadableBuffer) -> int:
        """Write all of it."""
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[super().write(rest) :]
        return memoryview(data).nbytes


def _unbuffered(stream: TextIO) -> TextIO:
    """Return another text stream on the same descriptor; the stream itself when it has none."""
    try:
        descriptor = stream.fileno()
    except OSError:
        return stream
    raw = _Descriptor(descriptor, "w", closefd=False)
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, write_through=True)
