"""JSON lines, for programs."""

from __future__ import annotations

import io
from typing import TextIO

from edge.event import Event


class JsonLines:
    """One JSON object per line, UTF-8, flushed after each, into a stream that stays open."""

    name = "JSON lines"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def open(self) -> None:
        """Set the encoding."""
        if isinstance(self._stream, io.TextIOWrapper):
            # A file name that is no valid UTF-8 holds lone surrogates, and their backslash form is valid JSON.
            self._stream.reconfigure(encoding="utf-8", errors="backslashreplace")

    def write(self, event: Event) -> None:
        """Write and flush one line."""
        self._stream.write(event.to_json() + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is left to do: every line is out."""
