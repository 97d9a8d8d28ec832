"""Files that libsndfile reads only the first part of: chained Ogg streams, and MP3s one behind the other."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from edge.decoding.libsndfile import SndfileDecoder
from edge.decoding.reader import Note
from edge.decoding.signatures import MPEG, id3_bytes, recognised
from edge.decoding.tape import Tape

COUNT_SLACK = 2_400
"""Frames that an encoder's delay and padding may be, which its count has or has not."""
TAG_BYTES = 128
"""Of ID3v1, behind an MP3."""
FRAME_BYTES = 256
"""Of an MP3's first frame, within which its length stands."""


class Span(io.RawIOBase):
    """A part of a file that looks like a file of its own."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file, self._start, self._end = file, start, end
        self._at = start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the part."""
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        self._at = max(self._start, base + offset)
        return self.tell()

    def tell(self) -> int:
        """Return the place within the part."""
        return self._at - self._start

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, up to the end of the part."""
        self._file.seek(self._at)
        data = self._file.read(max(0, min(len(buffer), self._end - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class PartsDecoder(SndfileDecoder):
    """A file in parts."""

    def __init__(self, file: BinaryIO, parts: Iterator[Span], name: str, slack: int | None = None) -> None:
        """Open the first part; raises AudioFileError if libsndfile does not know it."""
        self._file = file
        super().__init__(parts, name, slack)

    def close(self) -> None:
        """Close the file as well."""
        super().close()
        self._file.close()


def ogg_decoder(path: Path, name: str) -> PartsDecoder:
    """Return the decoder of an Ogg file, with a note if its end is missing.

    Raises:
        AudioFileError: the codec is none that libsndfile knows.
    """
    file = path.open("rb")
    starts, complete = _ogg_streams(file)
    ends = [*starts[1:], os.fstat(file.fileno()).st_size]
    decoder = PartsDecoder(file, (Span(file, *span) for span in zip(starts, ends, strict=True)), name)
    if not complete:
        decoder.notes.append(Note("partial", "breaks off: the mark of its end is missing"))
    return decoder


def mpeg_decoder(path: Path, name: str) -> PartsDecoder:
    """Return the decoder of an MP3 file.

    Raises:
        AudioFileError: libsndfile does not know it.
    """
    file = path.open("rb")
    return PartsDecoder(file, _mpegs(file, name), name, COUNT_SLACK if _counted_bytes(file, 0) else None)


def _ogg_streams(file: BinaryIO) -> tuple[list[int], bool]:
    """Return where the streams of a chain begin (RFC 3533), and whether the last page is there and ends the last."""
    starts, at, was_first, complete = [0], 0, True, False
    size = os.fstat(file.fileno()).st_size
    while file.seek(at) >= 0 and len(head := file.read(27)) == 27 and head.startswith(b"OggS"):
        is_first = bool(head[5] & 2)
        if is_first and not was_first:
            starts.append(at)
        was_first = is_first
        at += 27 + head[26] + sum(file.read(head[26]))
        complete = bool(head[5] & 4) and at <= size
    return starts, complete


def _mpegs(file: BinaryIO, name: str) -> Iterator[Span]:
    at, size = 0, os.fstat(file.fileno()).st_size
    while True:
        end = min(size, at + (_counted_bytes(file, at) or size))
        yield Span(file, at, end)
        file.seek(end)
        at = end + (TAG_BYTES if file.read(3) == b"TAG" else 0)
        file.seek(at)
        if recognised(Tape(file, name)) is not MPEG:
            return


def _counted_bytes(file: BinaryIO, at: int) -> int:
    """Return the length of the MP3 at a place, its tag included; 0: it does not say."""
    file.seek(at)
    tag_bytes = id3_bytes(file.read(10))
    file.seek(at + tag_bytes)
    counted = counted_bytes(file.read(FRAME_BYTES))
    return tag_bytes + counted if counted else 0


def counted_bytes(frame: bytes) -> int:
    """Return the length of an MP3 by the Xing or Info header in its first frame; 0: it has none."""
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if place < 0:
        return 0
    flags = int.from_bytes(frame[place + 4 : place + 8], "big")
    counted = frame[place + 12 if flags & 1 else place + 8 :][:4]
    return int.from_bytes(counted, "big") if flags & 2 else 0
