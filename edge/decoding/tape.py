"""A stream of bytes that can be looked into ahead, but not rewound."""

from __future__ import annotations

import time
from typing import Protocol

from edge.errors import AudioFileError

NOTHING_YET_S = 0.01


class Stream(Protocol):
    """A binary stream, unbuffered where it is live."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to ``size`` bytes, none at the end; None: there are none yet."""

    def close(self) -> None:
        """Close it."""


class Tape:
    """Reads from a pipe or file in order; short reads of a pipe are completed."""

    def __init__(self, stream: Stream, name: str) -> None:
        self.name = name
        self._stream = stream
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes, less only at the end, and leave them to be read.

        Raises:
            AudioFileError: they cannot be read.
        """
        while len(self._ahead) < size and (data := self._next(size - len(self._ahead))):
            self._ahead += data
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, less only at the end; see ``peek``."""
        data = self.peek(size)
        self._ahead = self._ahead[len(data) :]
        return data

    def read_some(self, size: int) -> bytes:
        """Return from 1 to ``size`` bytes, as soon as there are any; none at the end."""
        data = self._ahead[:size] or self._next(size)
        self._ahead = self._ahead[len(data) :]
        return data

    def skip(self, size: int) -> int:
        """Pass over ``size`` bytes; return how many there were."""
        passed = 0
        while passed < size and (data := self.read_some(min(65_536, size - passed))):
            passed += len(data)
        return passed

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def _next(self, size: int) -> bytes:
        try:
            while (data := self._stream.read(size)) is None:  # whoever opened it wants no one to wait
                time.sleep(NOTHING_YET_S)
        except OSError as error:
            raise AudioFileError(f"{self.name}: cannot be read: {error.strerror}") from None
        return data
