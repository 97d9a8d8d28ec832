"""What libsndfile decodes from files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import soundfile

from edge.arrays import Matrix
from edge.decoding.lengths import UNKNOWN
from edge.decoding.reader import Note, breaks_off
from edge.errors import AudioFileError


class Sound(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is read from the beginning to the end, wherever that is: the header may not know."""

    def seekable(self) -> bool:
        """Return False: otherwise each read seeks, which FLAC of unknown length cannot."""
        return False


class SndfileDecoder:
    """Anything that libsndfile opens, one part after the other where a file has several."""

    def __init__(self, parts: Iterator[Any], name: str, slack: int | None = None) -> None:
        """Open the first part.

        Args:
            parts: paths, descriptors or binary files; one is opened when the one before is read.
            name: what errors call the file.
            slack: frames that may be missing of those that a part's header promises; None: it may promise anything.

        Raises:
            AudioFileError: libsndfile does not know the format.
        """
        self.notes: list[Note] = []
        self._parts, self._name, self._slack = parts, name, slack
        self._sound = self._opened(next(parts))
        self.rate_hz: int = self._sound.samplerate
        self.channels: int = self._sound.channels
        self._frames = self._part_frames = 0

    def decode(self, frames: int) -> Matrix:
        """Return the next ``float32[<= frames, channels]``; see ``Decoder``."""
        samples = self._decode(frames)
        while not len(samples) and self._next_part():
            samples = self._decode(frames)
        return samples

    def close(self) -> None:
        """Close the file."""
        self._sound.close()

    @property
    def at_s(self) -> float:
        """How much was decoded."""
        return self._frames / self.rate_hz

    def _decode(self, frames: int) -> Matrix:
        try:
            samples: Matrix = self._sound.read(frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioFileError(f"{self._name}: cannot be decoded from {self.at_s:.1f} s on: {error}") from None
        self._frames += len(samples)
        self._part_frames += len(samples)
        return samples

    def _next_part(self) -> bool:
        promised, before = self._sound.frames, self._frames - self._part_frames
        if self._slack is not None and self._part_frames + self._slack < promised < UNKNOWN:
            self.notes.append(breaks_off(self._frames, before + promised, self.rate_hz))
        self._slack, self._part_frames = self._slack if self._part_frames else None, 0
        following = next(self._parts, None)
        if following is None:
            return False
        try:
            sound = self._opened(following)
        except AudioFileError:
            sound = None
        if sound is None or (sound.samplerate, sound.channels) != (self.rate_hz, self.channels):
            self.notes.append(follows(self.at_s))
            self._parts = iter(())
            return False
        self._sound.close()
        self._sound = sound
        return True

    def _opened(self, part: Any) -> Sound:
        try:
            return Sound(part)
        except soundfile.LibsndfileError as error:
            raise AudioFileError(f"{self._name}: is not audio that can be read: {error.error_string}") from None
        except TypeError:
            raise AudioFileError(f"{self._name}: is headerless audio, whose rate and sample type are unknown") from None


def follows(at_s: float) -> Note:
    """Return the note of another recording in the same file that cannot be read on with."""
    return Note("partial", f"another recording follows at {at_s:.1f} s, in another format")
