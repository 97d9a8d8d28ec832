"""A recording of any length as one utterance, in the memory of some minutes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.arrays import unit
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.capture import Block
from edge.decoding import Note
from edge.errors import AudioFileError
from edge.high_pass import high_passed
from edge.recognizer import Encoding
from edge.segmenter import Segmenter, segmented
from edge.settings import SegmenterSettings, VadSettings

STRETCH_S = 120.0
"""Speech that is kept as samples; of what is longer, the earlier stretches are encoded while the rest is read."""

Encode = Callable[[Waveform], Encoding]


@dataclass(frozen=True)
class WholeFile:
    """What of a recording stands for the whole of it: what is spoken, or all of it where nobody speaks."""

    samples: Waveform
    """``float32[n]``, 16 kHz, high-passed: all of it, or its last stretch."""
    earlier: tuple[Encoding, ...]
    """Of the stretches before."""
    duration_s: float
    """Of the recording."""
    has_voice: bool
    notes: tuple[Note, ...]
    """What was repaired, or is not there."""


def read_whole(blocks: Iterable[Block], encode: Encode, name: str) -> WholeFile:
    """Read a recording. What comes before damage counts, if there is anything.

    Args:
        blocks: of a source.
        encode: gives the encoding of ``float32[n]``.
        name: what errors call it.

    Raises:
        AudioFileError: nothing of it can be read.
    """
    speech, everything = _Stretches(encode), _Stretches(lambda samples: encode(high_passed(samples)))
    received, notes = 0, list[Note]()
    try:
        for block, segments in segmented(blocks, Segmenter(VadSettings(), SegmenterSettings())):
            received += len(block.samples)
            notes += block.notes
            for segment in segments:
                speech.add(segment.samples)
            if speech:
                everything.clear()
            else:
                everything.add(block.samples)
    except AudioFileError as error:
        if not received:
            raise
        notes.append(Note("partial", str(error).removeprefix(f"{name}: ")))
    if not received:
        raise AudioFileError(f"{name}: holds no audio")
    found, samples = (speech, speech.samples) if speech else (everything, high_passed(everything.samples))
    return WholeFile(samples, tuple(found.earlier), received / SAMPLE_RATE_HZ, bool(speech), tuple(notes))


def joined(encodings: Sequence[Encoding]) -> Encoding:
    """Return the encoding of stretches that are one utterance: a long stretch counts for more than a short one."""
    if len(encodings) == 1:
        return encodings[0]
    weights = [encoding.duration_s for encoding in encodings]
    prints = [encoding.voiceprint for encoding in encodings if encoding.voiceprint is not None]
    return Encoding(
        embedding=_mean([encoding.embedding for encoding in encodings], weights),
        voiceprint=unit(_mean(prints, weights)) if prints else None,
        duration_s=sum(weights),
        bucket_s=max(encoding.bucket_s for encoding in encodings),
        encoder_ms=sum(encoding.encoder_ms for encoding in encodings),
        speaker_ms=sum(encoding.speaker_ms for encoding in encodings),
        provider=encodings[-1].provider,
    )


class _Stretches:
    """Collects samples, and encodes a stretch of them once more follow."""

    def __init__(self, encode: Encode) -> None:
        self.earlier: list[Encoding] = []
        self._encode = encode
        self._parts: list[Waveform] = []
        self._length = 0

    def add(self, samples: Waveform) -> None:
        if self._parts and self._length + len(samples) > STRETCH_S * SAMPLE_RATE_HZ:
            self.earlier.append(self._encode(self.samples))
            self._parts, self._length = [], 0
        if len(samples):
            self._parts.append(samples)
            self._length += len(samples)

    def clear(self) -> None:
        self.earlier, self._parts, self._length = [], [], 0

    @property
    def samples(self) -> Waveform:
        return np.concatenate([np.zeros(0, np.float32), *self._parts])

    def __bool__(self) -> bool:
        return bool(self._parts)


def _mean(rows: Sequence[Waveform], weights: Sequence[float]) -> Waveform:
    mean: Waveform = np.average(np.stack(rows), axis=0, weights=weights).astype(np.float32)
    return mean
