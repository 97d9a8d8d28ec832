"""Decoders that read from a pipe: libsndfile's, and ffmpeg."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numpy as np

from edge.arrays import Matrix
from edge.decoding.lengths import TRAILER_BYTES, UNKNOWN, length_note, promised_bytes
from edge.decoding.libsndfile import SndfileDecoder
from edge.decoding.parts import FRAME_BYTES, TAG_BYTES, counted_bytes
from edge.decoding.reader import Note
from edge.decoding.signatures import MPEG, OGG, Format, id3_bytes, recognised
from edge.decoding.tape import Tape
from edge.errors import AudioFileError

CHUNK_BYTES = 65_536


class Pump:
    """A thread that passes pieces of a stream on to a pipe."""

    def __init__(self, pieces: Iterator[bytes], name: str) -> None:
        self._pieces = pieces
        self.passed = 0
        """Bytes that there were so far."""
        self.failure: AudioFileError | None = None
        """Why they ended."""
        self.reading_end, self._writing_end = os.pipe()
        threading.Thread(target=self._run, name=f"pump {name}", daemon=True).start()

    def drain(self) -> int:
        """Read what nobody has read, to the end; return how many bytes that were."""
        left = 0
        while data := os.read(self.reading_end, CHUNK_BYTES):
            left += len(data)
        return left

    def _run(self) -> None:
        with os.fdopen(self._writing_end, "wb", buffering=0) as pipe:
            try:
                for piece in self._pieces:
                    self.passed += len(piece)
                    rest = piece
                    while rest:
                        rest = rest[pipe.write(rest) :]
            except AudioFileError as error:  # known before the pipe ends, which its reader asks about
                self.failure = error
            except OSError:  # nobody reads any longer
                pass


class PipedDecoder(SndfileDecoder):
    """A stream in a format that libsndfile reads from a pipe; one Ogg stream, or MP3, after the other."""

    def __init__(self, tape: Tape, found: Format) -> None:
        """Begin to read; raises AudioFileError if libsndfile does not know it."""
        self._tape, self._found = tape, found
        self._head = tape.peek(24)
        self._is_complete = True
        """The last page of an Ogg is whole, and the last of its stream."""
        super().__init__(self._pipes(), tape.name)

    def _pipes(self) -> Iterator[int]:
        """Yield the reading end of a pipe for each part, once the one before is drained."""
        pieces = self._ogg if self._found is OGG else self._mpeg if self._found is MPEG else self._all
        is_part = True
        while is_part:
            self._pump = Pump(pieces(), self._tape.name)
            yield self._pump.reading_end
            is_part = recognised(self._tape) is self._found
        self._say_not_read(self._tape.skip(UNKNOWN))

    def _all(self) -> Iterator[bytes]:
        return pieces_of(self._tape)

    def _ogg(self) -> Iterator[bytes]:
        """Yield the pages of an Ogg stream (RFC 3533), or, from where it is damaged, all that there is."""
        was_first = True
        while (head := self._tape.peek(27)).startswith(b"OggS") and len(head) == 27:
            is_first = bool(head[5] & 2)
            if is_first and not was_first:
                return
            size = 27 + head[26] + sum(self._tape.peek(27 + head[26])[27:])
            page = self._tape.read(size)
            was_first, self._is_complete = is_first, bool(head[5] & 4) and len(page) == size
            yield page
        yield from self._all()

    def _mpeg(self) -> Iterator[bytes]:
        """Yield an MP3, up to where the count of its bytes ends, if it has one."""
        tape = self._tape
        yield from pieces_of(tape, id3_bytes(tape.peek(10)))
        yield from pieces_of(tape, counted_bytes(tape.peek(FRAME_BYTES)) or UNKNOWN)
        if tape.peek(3) == b"TAG":
            tape.skip(TAG_BYTES)

    def _next_part(self) -> bool:
        left = self._pump.drain()
        if self._pump.failure:
            raise self._pump.failure
        if left > TRAILER_BYTES:
            self._say_not_read(left)
        elif note := length_note(promised_bytes(self._head), self._pump.passed):
            self.notes.append(note)
        elif not self._is_complete:
            self.notes.append(Note("partial", "breaks off: the mark of its end is missing"))
        return super()._next_part()

    def _say_not_read(self, size: int) -> None:
        if size > TRAILER_BYTES:
            self.notes.append(Note("partial", f"{size} bytes that follow at {self.at_s:.1f} s are not read"))

    def _decode(self, frames: int) -> Matrix:
        try:
            return super()._decode(frames)
        except AudioFileError:
            if self._frames and not os.read(self._pump.reading_end, 1):
                self.notes.append(Note("partial", f"breaks off at {self.at_s:.1f} s"))
                return np.zeros((0, self.channels), np.float32)
            raise


def pieces_of(tape: Tape, size: int = UNKNOWN) -> Iterator[bytes]:
    """Yield the next ``size`` bytes of a tape, as they come."""
    while size and (data := tape.read_some(min(CHUNK_BYTES, size))):
        size -= len(data)
        yield data
