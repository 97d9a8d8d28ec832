"""JSON lines, for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from edge.event import Event
from edge.outputs.text import TextOutput


class JsonLines(TextOutput):
    """One JSON object per line, UTF-8, flushed after each."""

    def __init__(self, target: Path | TextIO) -> None:
        super().__init__(target, "JSON lines")

    def write(self, event: Event) -> None:
        """Write and flush one line."""
        self._write(event.to_json() + "\n")
