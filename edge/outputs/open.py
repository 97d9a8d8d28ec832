"""From the command line to an output on standard output."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from edge.outputs.base import Output
from edge.outputs.json_lines import JsonLines
from edge.outputs.live_table import LiveTable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def open_output(json: bool) -> Output:
    """Return JSON lines on standard output when asked for or when it is no terminal, otherwise a live table."""
    stream = _unbuffered(sys.stdout)
    return JsonLines(stream) if json or not sys.stdout.isatty() else LiveTable(Console(file=stream))


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
