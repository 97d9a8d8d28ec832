from collections.abc import Sequence

import numpy as np
import pytest

from edge.pauses import Pauses
from edge.settings import SegmenterSettings

END_FRAMES = 17


def pauses(**values: float | str) -> Pauses:
    return Pauses(SegmenterSettings.model_validate({"tail_s": 0.09} | values), 200)


def answers(source: Pauses, withdrawn: Sequence[bool]) -> list[int]:
    """Return how long each answer has waited."""
    waited = []
    for each in withdrawn:
        waited.append(source.answer_frames)
        source.answered(each)
    return waited


@pytest.mark.parametrize("share", [0.2, 0.25, 0.5])
def test_as_many_answers_are_withdrawn_as_may_be(share: float) -> None:
    source, withdrawn = pauses(withdrawn_share=share), []
    for length in np.random.default_rng(0).exponential(10, 5_000):
        if length >= source.answer_frames:
            withdrawn.append(bool(length < END_FRAMES))
            source.answered(withdrawn[-1])
    assert np.mean(withdrawn) == pytest.approx(share, abs=0.03)


def test_whoever_never_goes_on_is_answered_as_soon_as_it_can_be() -> None:
    assert set(answers(pauses(), [False] * 20)) == {3}


def test_whoever_always_goes_on_is_answered_just_before_the_end() -> None:
    waited = answers(pauses(), [True] * 20)
    assert waited == sorted(waited)
    assert waited[-1] == END_FRAMES - 1


def test_nothing_waits_for_longer_where_every_answer_may_be_withdrawn() -> None:
    assert set(answers(pauses(withdrawn_share=1), [True, True, False] * 5)) == {3}


@pytest.mark.parametrize(("tail_s", "frames"), [(0.0, 1), (0.24, 8), (0.5, 8)])
def test_an_answer_waits_for_its_tail_but_not_beyond_the_end(tail_s: float, frames: int) -> None:
    assert pauses(tail_s=tail_s, end_silence_s=0.25).answer_frames == frames


def ends(source: Pauses, lengths: Sequence[float]) -> int:
    for length in lengths:
        source.voiced_again(length)
    return source.end_frames


def test_an_end_silence_adapts_to_the_pauses_within_bounds() -> None:
    random = np.random.default_rng(0)
    assert ends(pauses(end_silence_s="auto"), []) == END_FRAMES
    assert ends(pauses(end_silence_s="auto"), [5] * 500) == 10
    assert ends(pauses(end_silence_s="auto"), [30] * 500) == 27
    assert ends(pauses(end_silence_s="auto"), random.uniform(4, 22, 2_000).tolist()) == pytest.approx(20, abs=2)
    assert ends(pauses(), [30] * 500) == END_FRAMES, "unless it is fixed"


def test_what_is_too_short_or_too_long_for_a_pause_changes_nothing() -> None:
    assert ends(pauses(end_silence_s="auto"), [1, 3, 40, float("inf")] * 100) == END_FRAMES
