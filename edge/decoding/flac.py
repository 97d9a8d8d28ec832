"""FLAC from anything that yields bytes: of unknown length, and several in a row."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

from edge.arrays import Matrix
from edge.decoding.lengths import UNKNOWN
from edge.decoding.libsndfile import SndfileDecoder
from edge.decoding.tape import Tape
from edge.errors import AudioFileError

MARKER = b"fLaC\0\0\0\x22"
"""Begins a FLAC; within one it is no coincidence."""
HEADER_BYTES = 1 << 17
"""Within which libFLAC may go back to the beginning."""


class FlacDecoder(SndfileDecoder):
    """One FLAC of a tape after the other."""

    def __init__(self, tape: Tape) -> None:
        """Open the first; raises AudioFileError if it is damaged."""
        self._tape, self._file = tape, FlacFile(tape)
        super().__init__(self._files(), tape.name, slack=0)

    def close(self) -> None:
        """Close the tape as well."""
        super().close()
        self._tape.close()

    def _decode(self, frames: int) -> Matrix:
        samples = super()._decode(frames)
        if self._file.failure:
            raise self._file.failure
        return samples

    def _files(self) -> Iterator[FlacFile]:
        yield self._file
        self._file.pass_over()
        while self._tape.peek(len(MARKER)):
            self._file = FlacFile(self._tape)
            yield self._file
            self._file.pass_over()


class FlacFile(io.RawIOBase):
    """The next FLAC of a tape, as a file that can be rewound within its header."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._head = b""
        self._at = self._passed = 0
        self.failure: AudioFileError | None = None
        """Why the tape ended, which libsndfile, for which this is a callback, cannot pass on."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; what is neither in the header nor next is as if beyond the end."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: UNKNOWN}[whence]
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, up to the next FLAC of the tape."""
        data = self._head[self._at : self._at + len(buffer)]
        if len(data) < len(buffer) and self._at + len(data) == self._passed:
            data += self._forward(len(buffer) - len(data))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def pass_over(self) -> None:
        """Go to the end, where another FLAC may begin."""
        while self._forward(65_536):
            pass

    def _forward(self, size: int) -> bytes:
        try:
            ahead = self._tape.peek(size + len(MARKER) - 1)
            following = ahead.find(MARKER, 0 if self._passed else 1)
            data = self._tape.read(min(size, following) if following >= 0 else size)
        except AudioFileError as error:
            self.failure, data = error, b""
        if len(self._head) < HEADER_BYTES:
            self._head += data
        self._passed += len(data)
        return data
