from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.encoders.batches import KINDS, Batching, encode_batches, plan_batches
from edge.arrays import Matrix
from edge.audio import Waveform

lengths = st.lists(st.floats(0, 20), max_size=40)


@given(lengths, st.floats(0, 64), st.booleans())
@settings(max_examples=100, deadline=None)
def test_every_row_comes_once_within_the_bound(lengths_s: list[float], batch_s: float, by_length: bool) -> None:
    batches = list(plan_batches(lengths_s, batch_s, by_length))
    rows = [row for batch in batches for row in batch]
    assert rows == (sorted(range(len(lengths_s)), key=lambda row: lengths_s[row]) if by_length else [*range(len(rows))])
    assert len(rows) == len(lengths_s)
    for batch in batches:
        longest_s = max(lengths_s[row] for row in batch)
        assert len(batch) == 1 or longest_s * len(batch) <= batch_s
    for batch, after in pairwise(batches):
        both = [*batch, after[0]]
        assert max(lengths_s[row] for row in both) * len(both) > batch_s, "no batch is smaller than it need be"


@given(lengths, st.floats(0, 64), st.floats(0.5, 10))
@settings(max_examples=50, deadline=None)
def test_no_kind_pads_beyond_its_length(lengths_s: list[float], batch_s: float, max_s: float) -> None:
    for kind in KINDS:
        batching = Batching(kind, batch_s, max_s)
        batches = batching.plan(lengths_s)
        assert sorted(row for batch in batches for row in batch) == [*range(len(lengths_s))]
        for batch in batches:
            waveforms = [np.zeros(min(round(lengths_s[row] * 16_000), batching.max_samples)) for row in batch]
            padded = batching.padded(waveforms)
            assert padded == (batching.max_samples if kind == "pad" else max(map(len, waveforms)))
            assert len(batch) == 1 or padded * len(batch) <= batch_s * 16_000 + len(batch)


def test_by_length_the_least_is_padded() -> None:
    lengths_s = np.random.default_rng(0).uniform(1, 5, 64).tolist()

    def padded(kind: str) -> float:
        batching = Batching(kind, 20.0, 5.0)
        batches = batching.plan(lengths_s)
        return sum(len(batch) * (5.0 if kind == "pad" else max(lengths_s[row] for row in batch)) for batch in batches)

    assert sum(lengths_s) < padded("length") < padded("order") < padded("pad") == 64 * 5.0


def test_batches_are_read_one_ahead_and_what_fails_is_left_out() -> None:
    read: list[int] = []

    def load(row: int) -> Waveform | None:
        read.append(row)
        return None if row in {1, 4, 5} else np.full(3, row, np.float32)

    def encode(waveforms: Sequence[Waveform]) -> Matrix:
        return np.stack([waveform[:2] for waveform in waveforms])

    found = encode_batches([[0, 1], [3, 2], [4, 5]], load, encode)
    batch, heard, vectors = next(found)
    assert (batch, heard, vectors.tolist()) == ([0, 1], [0], [[0, 0]])
    assert len(read) <= 4, "the third batch waits"
    assert [(heard, len(vectors)) for _, heard, vectors in found] == [([3, 2], 2), ([], 0)]


def test_an_encoder_that_fails_ends_the_reading() -> None:
    def encode(waveforms: Sequence[Waveform]) -> Matrix:
        raise RuntimeError("out of memory")

    read: list[int] = []
    with pytest.raises(RuntimeError, match="out of memory"):
        list(encode_batches([[row] for row in range(9)], lambda row: read.append(row) or np.zeros(1), encode))  # type: ignore[arg-type,return-value]
    assert len(read) <= 3
