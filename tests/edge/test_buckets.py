import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.buckets import Buckets, pad

BUCKETS = Buckets((1, 2, 3, 5, 8, 12))


@given(st.lists(st.integers(0, BUCKETS.longest)), st.integers(1, 10))
def test_a_plan_holds_everything_once_in_the_tightest_bucket(lengths: list[int], max_batch: int) -> None:
    plan = BUCKETS.plan(lengths, max_batch)
    assert sorted(index for batch in plan for index in batch.indices) == list(range(len(lengths)))
    assert [batch.samples for batch in plan] == sorted(batch.samples for batch in plan)
    for batch in plan:
        assert 1 <= len(batch.indices) <= max_batch
        assert list(batch.indices) == sorted(batch.indices)
        assert {BUCKETS.fit(lengths[index]) for index in batch.indices} == {batch.samples}
    for bucket in BUCKETS:
        sizes = [len(batch.indices) for batch in plan if batch.samples == bucket]
        assert sizes[:-1] == [max_batch] * (len(sizes) - 1)


@given(st.integers(0, BUCKETS.longest))
def test_the_smallest_bucket_that_fits(samples: int) -> None:
    bucket = BUCKETS.fit(samples)
    assert samples <= bucket
    assert not [smaller for smaller in BUCKETS if samples <= smaller < bucket]


def test_nothing_fits_beyond_the_longest() -> None:
    with pytest.raises(ValueError, match="192001 samples exceed the longest bucket of 192000"):
        BUCKETS.fit(192_001)


@given(st.lists(st.integers(0, 50), max_size=5), st.integers(50, 60))
def test_padding_adds_only_zeros_behind(lengths: list[int], samples: int) -> None:
    waveforms = [np.full(length, index + 1, np.float32) for index, length in enumerate(lengths)]
    padded = pad(waveforms, samples)
    assert padded.shape == (len(lengths), samples)
    assert padded.dtype == np.float32
    for row, waveform in zip(padded, waveforms, strict=True):
        assert (row[: len(waveform)] == waveform).all()
        assert not row[len(waveform) :].any()


@given(st.lists(st.integers(1, 48_000), max_size=40), st.integers(1, 16))
def test_a_batch_holds_no_more_audio_than_allowed(lengths: list[int], max_batch: int) -> None:
    buckets = Buckets((1, 2, 3))
    plan = buckets.plan(lengths, max_batch, 48_000)
    assert sorted(index for batch in plan for index in batch.indices) == list(range(len(lengths)))
    for batch in plan:
        assert len(batch.indices) <= max_batch
        assert len(batch.indices) * batch.samples <= 48_000
