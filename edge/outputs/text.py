"""What outputs of text share: a file of their own, or a stream that stays open."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TextIO

from edge.errors import UsageError


class TextOutput:
    """Part of an ``Output`` that writes text, in UTF-8."""

    def __init__(self, target: Path | TextIO, name: str) -> None:
        self.name = str(target) if isinstance(target, Path) else name
        self._target = target
        self._stream: TextIO | None = None

    def open(self) -> None:
        """Create the file, or set the encoding of the stream; raises UsageError if that is not possible."""
        # A file name that is no valid UTF-8 holds lone surrogates, and their backslash form is valid JSON.
        if not isinstance(self._target, Path):
            self._stream = self._target
            if isinstance(self._stream, io.TextIOWrapper):
                self._stream.reconfigure(encoding="utf-8", errors="backslashreplace")
            return
        try:
            self._stream = self._target.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        except OSError as error:
            raise UsageError(f"cannot write {self._target}: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        if self._stream and self._stream is not self._target:
            self._stream.close()

    def _write(self, text: str) -> None:
        """Write, and hand over to the system at once."""
        assert self._stream, "open() comes first"
        self._stream.write(text)
        self._stream.flush()
