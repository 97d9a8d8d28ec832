"""Decoders that read from a pipe: libsndfile's, and ffmpeg."""

from __future__ import annotations

import os
import threading

import numpy as np

from edge.arrays import Matrix
from edge.decoding.lengths import TRAILER_BYTES, length_note, promised_bytes
from edge.decoding.libsndfile import SndfileDecoder
from edge.decoding.reader import Note
from edge.decoding.tape import Tape
from edge.errors import AudioFileError


class Pump:
    """A thread that passes what is on a tape on to a pipe."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self.passed = 0
        """Bytes that the tape had so far."""
        self.tail = b""
        """The last of them, enough for any page of an Ogg."""
        self.failure: AudioFileError | None = None
        """Why the tape ended."""
        self.reading_end, self._writing_end = os.pipe()
        threading.Thread(target=self._run, name=f"pump {tape.name}", daemon=True).start()

    def _run(self) -> None:
        with os.fdopen(self._writing_end, "wb", buffering=0) as pipe:
            try:
                while data := self._tape.read_some(65_536):
                    self.passed += len(data)
                    self.tail = (self.tail + data)[-65_536:]
                    while data:
                        data = data[pipe.write(data) :]
            except AudioFileError as error:  # known before the pipe ends, which its reader asks about
                self.failure = error
            except OSError:  # nobody reads any longer
                pass


class PipedDecoder(SndfileDecoder):
    """A stream in a format that libsndfile reads from a pipe."""

    def __init__(self, tape: Tape) -> None:
        """Begin to read; raises AudioFileError if libsndfile does not know it."""
        self._head = tape.peek(24)
        self._pump = Pump(tape)
        super().__init__(iter([self._pump.reading_end]), tape.name)

    def _next_part(self) -> bool:
        left = 0
        while data := os.read(self._pump.reading_end, 65_536):
            left += len(data)
        if self._pump.failure:
            raise self._pump.failure
        if left > TRAILER_BYTES:
            self.notes.append(Note("partial", f"{left} bytes that follow at {self.at_s:.1f} s are not read"))
        elif note := length_note(promised_bytes(self._head), self._pump.passed):
            self.notes.append(note)
        elif self._head.startswith(b"OggS") and not _is_last_page(self._pump.tail):
            self.notes.append(Note("partial", "breaks off: the mark of its end is missing"))
        return False

    def _decode(self, frames: int) -> Matrix:
        try:
            return super()._decode(frames)
        except AudioFileError:
            if self._frames and not os.read(self._pump.reading_end, 1):
                self.notes.append(Note("partial", f"breaks off at {self.at_s:.1f} s"))
                return np.zeros((0, self.channels), np.float32)
            raise


def _is_last_page(tail: bytes) -> bool:
    """Return whether the last page of an Ogg (RFC 3533) that ends like this is whole, and the last of its stream."""
    page = tail[tail.rfind(b"OggS") :]
    return len(page) > 27 and bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
