"""Raw PCM, of which only the listener knows what it is."""

from __future__ import annotations

import numpy as np

from edge.arrays import Matrix
from edge.decoding.reader import Note
from edge.decoding.tape import Tape
from edge.errors import AudioFileError

DECIDING_BYTES = 6_400
"""That are not zero, after which it is clear whether they are floating-point samples."""


class RawDecoder:
    """16-bit little-endian mono PCM."""

    channels = 1

    def __init__(self, tape: Tape, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.notes: list[Note] = []
        self._tape = tape
        self._passed = 0
        self._first = b""
        """Of what is not zero, from a multiple of 8 bytes on."""

    def decode(self, frames: int) -> Matrix:
        """Return the next ``float32[<= frames, 1]``; half a sample at the end is left out. See ``Decoder``."""
        data = self._tape.read(2 * frames)
        if len(self._first) < DECIDING_BYTES and any(data):
            self._first += data if self._first else data[-self._passed % 8 :]
            if len(self._first) >= DECIDING_BYTES and (bits := _float_bits(self._first)):
                raise AudioFileError(
                    f"{self._tape.name}: these are {bits}-bit floating-point samples, and raw audio is 16-bit mono PCM "
                    "here: arecord -f S16_LE, ffmpeg -f s16le -ac 1, or sox -t raw -e signed -b 16 -c 1; or send a WAV"
                )
        self._passed += len(data)
        samples: Matrix = from_pcm(data[: len(data) // 2 * 2])
        return samples

    def close(self) -> None:
        """Close the stream."""
        self._tape.close()


def from_pcm(data: bytes, channels: int = 1) -> Matrix:
    """Convert interleaved 16-bit little-endian PCM to ``float32[n, channels]``, ±1."""
    samples: Matrix = np.frombuffer(data, "<i2").reshape(-1, channels).astype(np.float32) / np.float32(32768)
    return samples


def _float_bits(data: bytes) -> int:
    """Return the bits of floating-point samples of ±1, as which 16-bit ones never look; 0: they are none."""
    for bits in (32, 64):
        values = np.frombuffer(data[: len(data) // 8 * 8], f"<f{bits // 8}")
        magnitudes = np.abs(values[values != 0])
        if len(magnitudes) and ((magnitudes > 1e-9) & (magnitudes < 2)).mean() > 0.99:
            return bits
    return 0
