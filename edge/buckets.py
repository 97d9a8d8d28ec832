"""Length buckets: a handful of input lengths, so that little is padded and every shape is warm."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform


@dataclass(frozen=True)
class Batch:
    """Utterances that run together at one padded length."""

    indices: tuple[int, ...]
    """Positions in the caller's sequence."""
    samples: int
    """Padded length, the bucket."""


class Buckets:
    """The padded lengths of a bundle."""

    def __init__(self, lengths_s: Sequence[float]) -> None:
        self.samples = tuple(round(length_s * SAMPLE_RATE_HZ) for length_s in lengths_s)

    def __iter__(self) -> Iterator[int]:
        return iter(self.samples)

    @property
    def longest(self) -> int:
        """Samples of the longest bucket."""
        return self.samples[-1]

    def fit(self, samples: int) -> int:
        """Return the smallest bucket, in samples, that holds this many.

        Raises:
            ValueError: no bucket does.
        """
        for bucket in self.samples:
            if samples <= bucket:
                return bucket
        raise ValueError(f"{samples} samples exceed the longest bucket of {self.longest}")

    def plan(self, lengths: Sequence[int], max_batch: int, max_samples: int | None = None) -> list[Batch]:
        """Group utterances by bucket into batches of at most ``max_batch``, shortest bucket first.

        Of ``max_samples`` a batch has no more, padding included, unless it is a single utterance.
        """
        most = {bucket: max(1, min(max_batch, (max_samples or sys.maxsize) // bucket)) for bucket in self.samples}
        members: dict[int, list[int]] = {bucket: [] for bucket in self.samples}
        for index, length in enumerate(lengths):
            members[self.fit(length)].append(index)
        return [
            Batch(tuple(indices[start : start + most[bucket]]), bucket)
            for bucket, indices in members.items()
            for start in range(0, len(indices), most[bucket])
        ]


def pad(waveforms: Sequence[Waveform], samples: int) -> Waveform:
    """Stack waveforms to ``float32[batch, samples]`` with zeros behind each."""
    padded = np.zeros((len(waveforms), samples), np.float32)
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return padded
