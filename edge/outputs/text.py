"""What outputs of text share: a file of their own, or a stream that stays open."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal, TextIO

from edge.errors import UsageError
from edge.files import check_replaceable

BLOCK_BYTES = 65_536


class TextOutput:
    """Part of an ``Output`` that writes text, in UTF-8. A file of the same kind is replaced or continued, and nothing
    else."""

    kind: ClassVar[str]
    """What a message calls the output."""
    marks: ClassVar[tuple[bytes, ...]]
    """What its files begin with, see ``check_replaceable``."""

    def __init__(self, target: Path | TextIO, append: bool = False) -> None:
        self.name = str(target) if isinstance(target, Path) else self.kind
        self.can_recover = isinstance(target, Path)
        """A file does; nobody reads a broken pipe any more."""
        self._size = 0
        """Of the file, up to the last text that is written whole."""
        self._target, self._append = target, append
        self._stream: TextIO | None = None

    @classmethod
    def check(cls, path: Path) -> None:
        """Raise UsageError if the file at ``path`` is none that may be replaced."""
        check_replaceable(path, f"{cls.kind} of affectd", *cls.marks)

    def open(self) -> None:
        """Create the file, or set the encoding of the stream; raises UsageError if that is not possible."""
        # A file name that is no valid UTF-8 holds lone surrogates; events write them in the same way.
        if not isinstance(self._target, Path):
            self._stream = self._target
            if isinstance(self._stream, io.TextIOWrapper):
                self._stream.reconfigure(encoding="utf-8", errors="backslashreplace")
            return
        self.check(self._target)
        mode: Literal["a", "w"] = "a" if self._append else "w"
        try:
            self._stream = self._target.open(mode, encoding="utf-8", errors="backslashreplace", newline="")
        except OSError as error:
            raise UsageError(f"cannot write {self._target}: {error.strerror}") from None
        if self._append and self._target.is_file():
            self._size = _end_last_line(self._target)

    @property
    def is_continued(self) -> bool:
        """The open file has something of an earlier run in it."""
        return self._append and self._size > 0

    def recover(self) -> None:
        """Cut off what was written in part, and go on behind it."""
        assert isinstance(self._target, Path)
        if self._stream:
            with suppress(OSError):
                self._stream.close()
        os.truncate(self._target, self._size)
        self._stream = self._target.open("a", encoding="utf-8", errors="backslashreplace", newline="")

    def close(self) -> None:
        """Close the file."""
        if self._stream and self._stream is not self._target:
            self._stream.close()

    def _write(self, text: str) -> None:
        """Write, and hand over to the system at once."""
        assert self._stream, "open() comes first"
        self._stream.write(text)
        self._stream.flush()
        if self.can_recover:
            self._size = self._stream.tell()


def _end_last_line(path: Path) -> int:
    """Return the size of a file, of which a line that was written in part when the power failed is cut off."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end and file.seek(max(0, end - BLOCK_BYTES)) >= 0:
            start = max(0, end - BLOCK_BYTES)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
        return end
