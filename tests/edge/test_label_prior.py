import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.arrays import Doubles, Matrix, softmax
from edge.label_prior import PRIOR_CLIPS, fit_label_prior, label_ratio, with_label_prior
from helpers.factors import DIM, LABELS, World

COUNT = len(LABELS)
EVEN = np.full(COUNT, 1 / COUNT, np.float32)
FLOATS = st.floats(-4, 4, width=32)


def shares(count: int) -> st.SearchStrategy[Matrix]:
    """Return ``float32[count, labels]`` of rows that sum to one."""
    return hnp.arrays(np.float32, (count, COUNT), elements=FLOATS).map(softmax)


ANSWERS = st.integers(0, 12).flatmap(shares)
PRIOR = shares(1).map(lambda rows: rows[0])


def penalised(answers: Matrix, prior: Doubles, head_prior: Matrix, expected: Matrix, clips: float) -> float:
    """Return the log posterior of a prior, but for a constant."""
    likelihood = np.log((answers * prior / head_prior).sum(axis=1)).sum()
    return float(likelihood + clips * (expected * np.log(prior)).sum())


@given(answers=ANSWERS, head_prior=PRIOR, expected=PRIOR, clips=st.floats(0.1, 30))
def test_a_prior_sums_to_one_and_no_label_is_impossible(
    answers: Matrix, head_prior: Matrix, expected: Matrix, clips: float
) -> None:
    prior = fit_label_prior(answers, head_prior, expected, clips)
    assert prior.dtype == np.float32
    assert prior.sum() == pytest.approx(1, abs=1e-5)
    assert (prior > 0).all()


@given(answers=st.integers(1, 12).flatmap(shares), head_prior=PRIOR, expected=PRIOR, steps=st.integers(1, 8))
def test_no_step_makes_it_less_likely(answers: Matrix, head_prior: Matrix, expected: Matrix, steps: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for count in (steps, steps + 1):
            patch.setattr("edge.label_prior.STEPS", count)
            prior = fit_label_prior(answers, head_prior, expected).astype(np.float64)
            found.append(penalised(answers, prior, head_prior, expected, PRIOR_CLIPS))
    assert found[1] >= found[0] - 1e-4 * (1 + abs(found[0]))


@given(prior=PRIOR, head_prior=PRIOR)
def test_without_clips_it_is_what_was_expected(prior: Matrix, head_prior: Matrix) -> None:
    none = np.zeros((0, COUNT), np.float32)
    assert fit_label_prior(none, head_prior, prior) == pytest.approx(prior, abs=2e-3)


@given(answers=ANSWERS, prior=PRIOR, head_prior=PRIOR)
def test_a_power_of_0_and_the_heads_own_prior_change_nothing(
    answers: Matrix, prior: Matrix, head_prior: Matrix
) -> None:
    assert with_label_prior(answers, label_ratio(prior, head_prior, 0)) == pytest.approx(answers, abs=1e-5)
    assert with_label_prior(answers, label_ratio(head_prior, head_prior)) == pytest.approx(answers, abs=1e-5)


@given(answers=ANSWERS, prior=PRIOR, head_prior=PRIOR, power=st.floats(0, 1))
def test_what_is_expected_more_often_is_answered_more_often(
    answers: Matrix, prior: Matrix, head_prior: Matrix, power: float
) -> None:
    changed = with_label_prior(answers, label_ratio(prior, head_prior, power))
    assert changed.dtype == np.float32
    assert changed.sum(axis=1) == pytest.approx(1, abs=1e-5)
    most = (prior / head_prior).argmax()
    assert (changed[:, most] >= answers[:, most] - 1e-5).all()


@pytest.mark.parametrize("raised", range(COUNT))
def test_the_true_shares_are_found_in_many_clips(raised: int) -> None:
    world = World(3, noise=1.5)
    labels = np.where(np.arange(400) % 5 < 4, raised, (raised + 1 + np.arange(400) % 3) % COUNT)
    answers = world.head().probabilities(world.clips(np.zeros(DIM, np.float32), labels.tolist()))
    prior = fit_label_prior(answers, EVEN, EVEN)
    true = np.bincount(labels, minlength=COUNT) / 400
    assert prior == pytest.approx(true, abs=0.15)
    right = [
        (shown.argmax(axis=1) == labels).mean()
        for shown in (answers, with_label_prior(answers, label_ratio(prior, EVEN)))
    ]
    assert right[1] > right[0]


def test_clips_move_it_as_far_as_they_weigh() -> None:
    sure = np.tile(np.eye(COUNT, dtype=np.float32)[2], (10, 1))
    assert fit_label_prior(sure, EVEN, EVEN, prior_clips=10)[2] == pytest.approx(0.5 + 0.5 / COUNT, abs=1e-3)
