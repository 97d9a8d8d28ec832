import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.arrays import Matrix
from edge.value_shift import Pooling, ShiftMode, ValueShift, ValueStatistics

MODES = st.sampled_from(["full", "mu", "sigma"])
NUMBERS = st.floats(0, 1, width=32)
VALUES = hnp.arrays(np.float32, st.tuples(st.integers(2, 20), st.just(2)), elements=NUMBERS)
EXPECTED = st.builds(
    ValueStatistics,
    hnp.arrays(np.float32, 2, elements=NUMBERS),
    hnp.arrays(np.float32, 2, elements=st.floats(0.0625, 1, width=32)),
    st.integers(1, 15),
)
BOUNDS = np.zeros(2, np.float32), np.ones(2, np.float32)


@given(values=VALUES, mode=MODES)
def test_a_persons_own_statistics_change_nothing(values: Matrix, mode: ShiftMode) -> None:
    own = ValueStatistics.of(values)
    assert ValueShift(mode).apply(values, own, own) == pytest.approx(values, abs=1e-5)


@given(values=VALUES, expected=EXPECTED, mode=MODES)
def test_afterwards_they_lie_as_expected(values: Matrix, expected: ValueStatistics, mode: ShiftMode) -> None:
    own = ValueStatistics.of(values)
    after = ValueStatistics.of(ValueShift(mode).apply(values, own, expected))
    mean = own.mean if mode == "sigma" else expected.mean
    assert after.mean == pytest.approx(mean, abs=1e-3)
    scaled = (own.deviation >= 0.01) & (mode != "mu")
    deviation = np.where(scaled, expected.deviation, own.deviation)
    assert after.deviation[own.deviation >= 0.01] == pytest.approx(deviation[own.deviation >= 0.01], rel=1e-2)


@given(values=VALUES, expected=EXPECTED, mode=MODES, shrinkage=st.floats(0, 100))
def test_clamped_values_are_in_range_and_in_the_same_order(
    values: Matrix, expected: ValueStatistics, mode: ShiftMode, shrinkage: float
) -> None:
    shifted = ValueShift(mode, shrinkage=shrinkage).apply(values, ValueStatistics.of(values), expected, bounds=BOUNDS)
    assert shifted.dtype == np.float32
    assert shifted.min() >= 0
    assert shifted.max() <= 1
    for before, after in zip(values.T, shifted.T, strict=True):
        assert (np.diff(after[np.argsort(before, kind="stable")]) >= -1e-6).all()


@given(values=VALUES, expected=EXPECTED, mode=MODES)
def test_behind_a_gate_nothing_changes(values: Matrix, expected: ValueStatistics, mode: ShiftMode) -> None:
    own = ValueStatistics.of(values)
    assert ValueShift(mode, least_likeness=0.5).apply(values, own, expected, likeness=0.4, bounds=BOUNDS) is values
    assert ValueShift(mode, least_clips=21).apply(values, own, expected, bounds=BOUNDS) is values
    nobody = ValueStatistics.of(values[:0])
    assert ValueShift(mode).apply(values, nobody, expected) is values


@given(values=VALUES, expected=EXPECTED, mode=MODES)
def test_the_fewer_the_clips_the_less_is_shifted(values: Matrix, expected: ValueStatistics, mode: ShiftMode) -> None:
    own = ValueStatistics.of(values)
    moved = [
        np.abs(ValueShift(mode, shrinkage=shrinkage).apply(values, own, expected) - values).max()
        for shrinkage in (0, 10, 1000)
    ]
    assert moved == sorted(moved, reverse=True)


@pytest.mark.parametrize(("pooling", "deviation"), [("averaged", 0.2), ("pooled", np.sqrt(0.04 + 0.01))])
def test_the_most_similar_speakers_say_what_is_expected(pooling: Pooling, deviation: float) -> None:
    offsets = np.array([[1, 0], [1, 0.1], [-1, 0], [0, -1]], np.float32)
    means, deviations = (np.array(each, np.float32)[:, None] for each in ([0.4, 0.6, 0.9, 0], [0.2, 0.2, 0.9, 0.9]))
    shift = ValueShift(pooling=pooling, speakers=2)
    expected, likeness = shift.expected(means, deviations, offsets, np.array([2, 0], np.float32))
    assert expected.mean == pytest.approx([0.5])
    assert expected.deviation == pytest.approx([deviation])
    assert 0.99 < likeness <= 1


@given(st.integers(1, 40))
def test_more_similar_speakers_than_there_are_is_all_of_them(count: int) -> None:
    rng = np.random.default_rng(count)
    means, offsets = rng.random((20, 2), np.float32), rng.normal(size=(20, 3)).astype(np.float32)
    expected, _ = ValueShift(speakers=count).expected(means, means, offsets, offsets[0])
    assert expected.clips == min(count, 20)
