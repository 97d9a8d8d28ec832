import numpy as np
import pytest

from edge.pauses import Pauses


@pytest.mark.parametrize("share", [0.2, 0.25, 0.5])
def test_as_many_answers_are_withdrawn_as_may_be(share: float) -> None:
    random = np.random.default_rng(0)
    pauses, withdrawn = Pauses(3, 16, share), []
    for length in random.exponential(10, 5_000):
        if length >= pauses.wait_frames:
            withdrawn.append(length < 17)
            pauses.follow(withdrawn[-1])
    assert np.mean(withdrawn) == pytest.approx(share, abs=0.03)


def test_whoever_never_goes_on_is_answered_as_soon_as_it_can_be() -> None:
    pauses = Pauses(3, 16, 0.2)
    for _ in range(20):
        pauses.follow(withdrawn=False)
    assert pauses.wait_frames == 3


def test_whoever_always_goes_on_is_answered_just_before_the_end() -> None:
    pauses = Pauses(3, 16, 0.2)
    for _ in range(20):
        pauses.follow(withdrawn=True)
    assert pauses.wait_frames == 16


def test_nothing_waits_for_longer_where_every_answer_may_be_withdrawn() -> None:
    pauses = Pauses(3, 16, 1.0)
    for number in range(20):
        pauses.follow(withdrawn=bool(number % 3))
    assert pauses.wait_frames == 3
    assert Pauses(3, 2, 0.2).wait_frames == 3, "an end silence as short as the tail"
