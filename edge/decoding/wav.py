"""WAV from anything that yields bytes: headers that were never finished, of unknown length, and several in a row."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
import soundfile

from edge.arrays import Matrix
from edge.decoding.reader import Note, breaks_off
from edge.decoding.tape import Tape
from edge.errors import AudioFileError

SUBTYPES = {
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
    (6, 8): "ALAW",
    (7, 8): "ULAW",
}
"""Format tag and bits to libsndfile's name of the sample type."""
EXTENSIBLE = 0xFFFE
ENDLESS = 0x7FFF_0000
"""What a program writes that does not know the length (ffmpeg, sox and arecord: close to 2 or 4 GiB), at least."""
HEADS = (b"RIFF", b"RF64", b"BW64")
MAX_CHANNELS = 1_024
"""That libsndfile takes."""
MAX_CHUNK = 1 << 24
"""Most bytes of a chunk behind the samples; more are no chunk, but samples that the header did not know of."""


class OtherEncodingError(Exception):
    """The samples are in an encoding that libsndfile may know, such as ADPCM."""


@dataclass(frozen=True)
class _Samples:
    subtype: str
    rate_hz: int
    channels: int
    frame_bytes: int


class WavDecoder:
    """RIFF, RF64 and BW64 with PCM, floating-point, A-law or µ-law samples."""

    def __init__(self, tape: Tape) -> None:
        """Read the header.

        Raises:
            AudioFileError: it is incomplete.
            OtherEncodingError: these samples are not for this decoder; the tape has moved on.
        """
        self.notes: list[Note] = []
        self._tape = tape
        self._pad = 0
        """Bytes between the samples and what follows."""
        self._format, self._left = self._header()
        self._frames = 0
        self.rate_hz, self.channels = self._format.rate_hz, self._format.channels

    def decode(self, frames: int) -> Matrix:
        """Return the next ``float32[<= frames, channels]``; see ``Decoder``."""
        data = b""
        wanted = frames * self._format.frame_bytes
        while len(data) < wanted and (self._left != 0 or self._goes_on(len(data))):
            size = wanted - len(data)
            read = self._tape.read(size if self._left is None else min(size, self._left))
            if not read:
                self._end(len(data))
                break
            data += read
            if self._left is not None:
                self._left -= len(read)
                self._tape.skip(self._pad if not self._left else 0)
        whole = len(data) // self._format.frame_bytes
        self._frames += whole
        if not whole:
            return np.zeros((0, self.channels), np.float32)
        samples: Matrix = soundfile.read(
            io.BytesIO(data[: whole * self._format.frame_bytes]),
            dtype="float32",
            always_2d=True,
            samplerate=self.rate_hz,
            channels=self.channels,
            format="RAW",
            subtype=self._format.subtype,
            endian="LITTLE",
        )[0]
        return samples

    def close(self) -> None:
        """Close the file."""
        self._tape.close()

    def _end(self, in_hand: int) -> None:
        if self._left:
            frames = self._frames + in_hand // self._format.frame_bytes
            missing = self._left // self._format.frame_bytes
            self.notes.append(breaks_off(frames, frames + missing, self.rate_hz))
        self._left = 0

    def _goes_on(self, in_hand: int) -> bool:
        """Return whether more samples follow those that the header knows of."""
        while _is_chunk(head := self._tape.peek(12)) and not _is_header(head):
            size = int.from_bytes(head[4:8], "little")
            self._tape.skip(8 + size + size % 2)
        if len(head) < 12:
            return False
        if not _is_header(head):
            self._left = None
            return True
        try:
            following, self._left = self._header()
        except (AudioFileError, OtherEncodingError):
            following = None
        if following == self._format:
            return True
        at_s = (self._frames + in_hand // self._format.frame_bytes) / self.rate_hz
        self.notes.append(Note("partial", f"another recording follows at {at_s:.1f} s, in another format"))
        self._tape.skip(1 << 62)
        self._left = 0
        return False

    def _header(self) -> tuple[_Samples, int | None]:
        """Return how the samples are encoded, and how many bytes follow, None if that is not known."""
        self._tape.skip(12)
        found: _Samples | None = None
        long_size = 0
        while len(head := self._tape.read(8)) == 8:
            name, size = head[:4], int.from_bytes(head[4:], "little")
            if name == b"data" and found:
                size = long_size if size == 0xFFFF_FFFF and long_size else size
                self._pad = size % 2
                return found, self._known(size)
            content = self._tape.read(min(size, 64))
            if name == b"ds64" and len(content) >= 16:
                long_size = int.from_bytes(content[8:16], "little")
            if name == b"fmt " and len(content) >= 16:
                found = _samples(content)
            self._tape.skip(size + size % 2 - len(content))
        raise AudioFileError(f"{self._tape.name}: is not audio that can be read: its WAV header is incomplete")

    def _known(self, size: int) -> int | None:
        if 0 < size < ENDLESS or size > 0xFFFF_FFFF:
            return size
        # 0 is of a header that was never finished, unless nothing but other chunks follows.
        return 0 if size == 0 and _is_chunk(self._tape.peek(8)) else None


def _samples(content: bytes) -> _Samples:
    tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack("<HHIIHH", content[:16])
    if tag == EXTENSIBLE and len(content) >= 26:
        tag = int.from_bytes(content[24:26], "little")
    if (tag, bits) not in SUBTYPES or not 1 <= channels <= MAX_CHANNELS or frame_bytes != channels * bits // 8:
        raise OtherEncodingError
    return _Samples(SUBTYPES[tag, bits], rate_hz, channels, frame_bytes)


def _is_header(head: bytes) -> bool:
    return head[:4] in HEADS and head[8:12] == b"WAVE"


def _is_chunk(head: bytes) -> bool:
    """Return whether these 8 bytes begin a chunk, and no samples: a name in ASCII and a size that may be."""
    name, size = head[:4], int.from_bytes(head[4:8], "little")
    return len(head) >= 8 and all(0x20 <= byte < 0x7F for byte in name) and name[:1] != b" " and size < MAX_CHUNK
