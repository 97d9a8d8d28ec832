"""What every decoder comes to: blocks of channels whose samples are sound, and notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.arrays import Matrix
from edge.errors import AudioFileError
from edge.event import StatusReason

RATES_HZ = range(8_000, 192_001)
PEAK_LIMIT = 8.0
"""Float files may go a little beyond full scale (±1); beyond 18 dB over it the samples were never scaled."""
GLITCHES = 0.01
"""Share of a block's samples that may be beyond ``PEAK_LIMIT`` by accident."""


@dataclass(frozen=True)
class Note:
    """What there is to say about audio, or about where it comes from."""

    reason: StatusReason
    message: str


class Decoder(Protocol):
    """Something that decodes. What it cannot decode is an AudioFileError."""

    rate_hz: int
    channels: int
    notes: list[Note]
    """What was noticed since the list was last emptied."""

    def decode(self, frames: int) -> Matrix:
        """Return the next ``float32[<= frames, channels]``, ±1 unless the samples were never scaled; 0 at the end."""

    def close(self) -> None:
        """Let go of the file."""


class AudioReader:
    """An open file or stream, at its own rate and with its own channels, for use in ``with``."""

    def __init__(self, decoder: Decoder, name: str, nothing: str = "holds no audio") -> None:
        """Prepare.

        Args:
            decoder: at the beginning.
            name: what errors call the file.
            nothing: what an error says where there is not a single sample.

        Raises:
            AudioFileError: not at 8 to 192 kHz.
        """
        self.rate_hz, self.channels = decoder.rate_hz, decoder.channels
        self._decoder, self._name, self._nothing = decoder, name, nothing
        self._frames = self._sound = 0
        self._repaired = False
        if self.rate_hz not in RATES_HZ:
            decoder.close()
            raise AudioFileError(
                f"{name}: is at {self.rate_hz} Hz; from {RATES_HZ[0]} to {RATES_HZ[-1]} Hz can be read"
            )

    def read(self, frames: int) -> Matrix | None:
        """Return the next ``float32[<= frames, channels]``, or None at the end.

        Samples that are no numbers, infinite or single ones far beyond full scale are interpolated, with a note.

        Raises:
            AudioFileError: it is damaged, holds no sample that is a number, or was never scaled to ±1.
        """
        samples = self._decoder.decode(frames)
        if len(samples):
            self._sound += samples.size - self._repair(samples)
            self._frames += len(samples)
            return samples
        if not self._frames:
            raise AudioFileError(f"{self._name}: {self._nothing}")
        if not self._sound:
            raise AudioFileError(f"{self._name}: holds nothing but NaN or infinite samples")
        return None

    def blocks(self, frames: int) -> Iterator[Matrix]:
        """Yield blocks until the end; see ``read``."""
        while (samples := self.read(frames)) is not None:
            yield samples

    def take_notes(self) -> tuple[Note, ...]:
        """Return what there is to say since the last call."""
        notes = tuple(self._decoder.notes)
        self._decoder.notes.clear()
        return notes

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repair(self, samples: Matrix) -> int:
        """Interpolate what is no sound, in place, and return how many samples that were."""
        peak = np.abs(samples).max()
        if peak <= PEAK_LIMIT:
            return 0
        wrong = ~(np.abs(samples) <= PEAK_LIMIT)
        finite = np.isfinite(samples)
        if (wrong & finite).mean() > GLITCHES:
            peak = np.abs(samples[finite]).max()
            raise AudioFileError(
                f"{self._name}: holds samples up to {peak:g}; floating-point audio must be scaled to ±1"
            )
        places = np.arange(len(samples))
        for channel, bad in zip(samples.T, wrong.T, strict=True):
            channel[bad] = np.interp(places[bad], places[~bad], channel[~bad]) if not bad.all() else 0
        if not self._repaired:
            self._repaired = True
            first_s = (self._frames + int(wrong.any(axis=1).argmax())) / self.rate_hz
            message = (
                f"holds samples that are no numbers, infinite or far beyond full scale, the first at {first_s:.2f} s"
            )
            self._decoder.notes.append(Note("repaired", f"{message}; they are interpolated"))
        return int(wrong.sum())


def breaks_off(frames: int, promised: float, rate_hz: int) -> Note:
    """Return the note of what ends early: ``frames`` of the ``promised`` ones are there."""
    return Note("partial", f"breaks off at {frames / rate_hz:.1f} s of {promised / rate_hz:.1f} s")
