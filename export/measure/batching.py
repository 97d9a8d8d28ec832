"""Ways to group utterances into padded batches, and the peak memory of each in a fresh process that holds nothing else.

``python -m export.measure.batching`` is that process, so this imports only what the device has. Its arguments are the
bundle's folder and the strategy; standard input is a JSON list of lengths in samples. Prints JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edge.arrays import Matrix
from edge.audio import Waveform
from edge.buckets import Batch, Buckets
from edge.bundle import Bundle
from edge.encoder import Encoder
from edge.profiling import facts
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings

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
    """Return the share of what the encoder computes that is padding."""
    return 1 - sum(lengths) / sum(len(batch.indices) * batch.samples for batch in batches)


def peak_mb(bundle: Bundle, strategy: str, lengths: Sequence[int]) -> dict[str, float]:
    """Return the peaks ``loaded``, when the encoder is warm and the audio there, and ``run`` of a fresh process."""
    command = [sys.executable, "-m", "export.measure.batching", str(bundle.folder), strategy]
    found = subprocess.run(command, input=json.dumps(lengths), capture_output=True, text=True, check=True)
    peaks: dict[str, float] = json.loads(found.stdout)
    return peaks


def main() -> None:
    """Run a strategy once."""
    folder, strategy = sys.argv[1:]
    lengths: list[int] = json.loads(sys.stdin.read())
    settings = EncoderSettings(provider="cpu")
    recognizer = Recognizer(Bundle.load(Path(folder)), settings)
    recognizer.load()
    rng = np.random.default_rng(0)
    waveforms = [rng.uniform(-0.1, 0.1, length).astype(np.float32) for length in lengths]
    loaded = facts.peak_mb(os.getpid()) or 0.0
    embed(recognizer.encoder, waveforms, STRATEGIES[strategy](lengths, recognizer.buckets, settings.max_batch))
    print(json.dumps({"loaded": loaded, "run": facts.peak_mb(os.getpid()) or 0.0}))


if __name__ == "__main__":
    main()
