"""Intervals over speakers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.bootstrap import Tally, mean_interval
from calibrate.metrics import figures, unweighted_accuracy
from calibrate.report import figures_report, interval, points, span

LABELS = ("neutral", "happy")
answers = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=60)


@settings(deadline=None, max_examples=40)
@given(answers)
def test_a_tally_has_the_ua_of_the_utterances_and_an_interval_around_it(rows: list[tuple[int, int, int]]) -> None:
    predicted, true, speaker = (np.array(column) for column in zip(*rows, strict=True))
    tally = Tally.of(predicted == true, true, speaker.astype(np.str_))
    assert tally.ua == pytest.approx(unweighted_accuracy(predicted, true))
    bounds = tally.interval()
    assert (bounds is None) == (len(np.unique(speaker)) == 1)
    if bounds:
        assert 0 <= bounds[0] <= bounds[1] <= 1
        assert tally.gain_interval(tally) == (0, 0)


def test_streams_are_averaged() -> None:
    right, true = np.array([1, 1, 0, 0], bool), np.zeros(4, np.int64)
    speakers, stream = np.array(["a", "b", "a", "b"]), np.array([7, 7, 7, 9])
    assert Tally.of(right, true, speakers, stream).ua == pytest.approx((2 / 3 + 0) / 2)


def test_more_speakers_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (4, 16, 64):
        share = rng.uniform(0.2, 1.0, count)
        right = rng.random((count, 20)) < share[:, None]
        low, high = Tally.of(right.ravel(), np.zeros(right.size, np.int64), np.repeat(np.arange(count), 20)).interval()
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


def test_one_speaker_is_said_in_a_plain_word() -> None:
    assert all(map(math.isnan, mean_interval(np.array([0.5]))))
    assert interval(0.7, *mean_interval(np.array([0.5]))) == "0.700 (one speaker)"
    assert points(0.02, *mean_interval(np.array([0.5]))) == "+2.0 (one speaker)"
    assert span(None) == "one speaker"


@pytest.mark.parametrize(
    ("speakers", "clips", "said", "unsaid"),
    [
        (1, 9, "one speaker, so there is no interval", "too few to tell"),
        (6, 3, "the worst 10 % of the speakers have 3 utterances, too few to tell", "one speaker"),
        (30, 1, "the worst 10 % of the speakers have 3 utterances", "one speaker"),
        (20, 4, "", "too few to tell"),
    ],
)
def test_few_people_and_clips_are_said(speakers: int, clips: int, said: str, unsaid: str) -> None:
    count = speakers * clips
    true = np.arange(count) % 2
    probabilities = np.eye(2, dtype=np.float32)[true]
    names = [f"s{row // clips:02d}" for row in range(count)]
    text = figures_report({"office": figures(probabilities, true, names, LABELS)}, LABELS, "as drawn").markdown()
    assert said in text
    assert unsaid not in text
