"""JSON lines, for programs."""

from __future__ import annotations

from edge.event import Event
from edge.outputs.text import TextOutput


class JsonLines(TextOutput):
    """One JSON object per line, UTF-8, flushed after each."""

    kind = "JSON lines"
    marks = (b'{"type": "', b'"schema": ')

    def write(self, event: Event) -> None:
        """Write and flush one line."""
        self._write(event.to_json() + "\n")
