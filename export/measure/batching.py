"""Ways to group utterances into padded batches. Imports what the device has, so that memory can be measured bare."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge.arrays import Matrix
from edge.audio import Waveform
from edge.buckets import Batch, Buckets
from edge.encoder import Encoder

Strategy = Callable[[Sequence[int], Buckets, int], list[Batch]]
"""Lengths in samples in the order of arrival, the bundle's buckets and the largest batch, to batches."""


def to_batch_longest(lengths: Sequence[int], _buckets: Buckets, most: int) -> list[Batch]:
    """Batch in the order of arrival, each padded to its own longest."""
    rows = range(len(lengths))
    chunks = [tuple(rows[start : start + most]) for start in range(0, len(lengths), most)]
    return [Batch(chunk, max(lengths[row] for row in chunk)) for chunk in chunks]


def to_longest(lengths: Sequence[int], buckets: Buckets, most: int) -> list[Batch]:
    """Batch in the order of arrival, all padded to the longest there is, as a graph of one fixed shape needs."""
    return [Batch(batch.indices, max(lengths)) for batch in to_batch_longest(lengths, buckets, most)]


def one_by_one(lengths: Sequence[int], buckets: Buckets, _most: int) -> list[Batch]:
    """Run every utterance alone, padded to its bucket."""
    return [Batch((row,), buckets.fit(length)) for row, length in enumerate(lengths)]


def unpadded(lengths: Sequence[int], _buckets: Buckets, _most: int) -> list[Batch]:
    """Run every utterance alone at its own length, a shape that is never warm."""
    return [Batch((row,), length) for row, length in enumerate(lengths)]


BUCKETED, TO_BATCH_LONGEST, TO_LONGEST, UNPADDED = (
    "length buckets",
    "padded to the batch's longest",
    "padded to the longest of all",
    "one by one, unpadded",
)
STRATEGIES: dict[str, Strategy] = {
    BUCKETED: lambda lengths, buckets, most: buckets.plan(lengths, most),
    TO_BATCH_LONGEST: to_batch_longest,
    TO_LONGEST: to_longest,
    "one by one, in buckets": one_by_one,
    UNPADDED: unpadded,
}


def embed(encoder: Encoder, waveforms: Sequence[Waveform], batches: Sequence[Batch]) -> Matrix:
    """Return ``float32[n, dim]`` in the order of the waveforms."""
    embeddings = np.empty((len(waveforms), encoder.dim), np.float32)
    for batch in batches:
        rows = list(batch.indices)
        embeddings[rows] = encoder.embed([waveforms[row] for row in rows], batch.samples)
    return embeddings


def waste(lengths: Sequence[int], batches: Sequence[Batch]) -> float:
    """Return the share of what the encoder hears that is padding."""
    return 1 - sum(lengths) / sum(len(batch.indices) * batch.samples for batch in batches)
