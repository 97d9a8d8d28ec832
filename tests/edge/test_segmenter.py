import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.high_pass import high_passed
from edge.segment import Segment, Step
from edge.segmenter import Segmenter
from edge.settings import PartialSettings, SegmenterSettings, VadSettings
from edge.vad import FRAME_SAMPLES
from helpers.signals import silence, speech_like

DEFAULTS = SegmenterSettings(max_s=10.0)


def segmenter(**values: float | str) -> Segmenter:
    return Segmenter(VadSettings(), SegmenterSettings.model_validate({"max_s": 10.0} | values))


def run(samples: Waveform, lengths: Sequence[int] = (800,), **values: float | str) -> list[Segment]:
    """Push the samples in blocks of the given lengths, over and over, and flush."""
    stage, segments, start, turn = segmenter(**values), [], 0, 0
    while start < len(samples):
        length = lengths[turn % len(lengths)]
        segments += stage.push(samples[start : start + length])
        start, turn = start + length, turn + 1
    return segments + stage.flush()


def conversation(*pattern_s: float, seed: int = 0) -> Waveform:
    """Silence, speech, silence, … of these durations."""
    parts = [
        (speech_like if index % 2 else silence)(duration_s, seed=seed + index)
        for index, duration_s in enumerate(pattern_s)
    ]
    return np.concatenate(parts) + silence(sum(map(len, parts)) / SAMPLE_RATE_HZ, -75)


def position(segment: Segment, samples: Waveform) -> int:
    """Where the segment's samples stand in the high-passed source; noise makes every place unique."""
    latest = round(segment.start_s * SAMPLE_RATE_HZ)
    filtered = high_passed(samples)
    for start in range(latest, -1, -FRAME_SAMPLES):
        if np.array_equal(filtered[start : start + len(segment.samples)], segment.samples):
            return start
    raise AssertionError(f"{segment.start_s:.2f} s: not a slice of the source")


@pytest.mark.parametrize("lengths", [(480,), (100, 4000), (16_000,)])
def test_bursts_too_short_for_an_utterance_are_counted(lengths: tuple[int, ...]) -> None:
    for bursts, expected in ((0, 0), (1, 1), (4, 4)):
        pattern_s = (2.0, *(1.0, 1.0), *(0.15, 1.0) * bursts)
        samples, stage, start, turn, ended = conversation(*pattern_s), segmenter(), 0, 0, 0
        while start < len(samples):
            length = lengths[turn % len(lengths)]
            ended += len(stage.push(samples[start : start + length]))
            start, turn = start + length, turn + 1
        assert (stage.too_short, ended) == (expected, 1)


def test_the_last_frame_tells_whether_there_is_a_voice() -> None:
    stage = segmenter()
    heard = []
    for second in conversation(1.0, 1.0, 1.0).reshape(3, -1):
        stage.push(second)
        heard.append(stage.hears_voice)
    assert heard == [False, True, False]


def steps(samples: Waveform, lengths: Sequence[int] = (800,), partial_s: float = 0, **values: float) -> list[Step]:
    """The same as ``run``, with every step."""
    found = SegmenterSettings.model_validate({"max_s": 10.0} | values)
    stage, seen, start, turn = Segmenter(VadSettings(), found, PartialSettings(every_s=partial_s)), [], 0, 0
    while start < len(samples):
        length = lengths[turn % len(lengths)]
        seen += stage.steps(samples[start : start + length])
        start, turn = start + length, turn + 1
    return seen + stage.last_steps()


def kinds(seen: Sequence[Step]) -> list[str]:
    return [step.kind for step in seen]


def same(first: list[Segment], second: list[Segment]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(a.samples, b.samples) and (a.start_s, a.end_s, a.decided_s) == (b.start_s, b.end_s, b.decided_s)
        for a, b in zip(first, second, strict=True)
    )


def test_finds_each_utterance_where_it_is() -> None:
    segments = run(conversation(1, 2, 1, 1.5, 1, 0.8, 1))
    truth = [(1, 3), (4, 5.5), (6.5, 7.3)]
    assert len(segments) == len(truth)
    for segment, (start_s, end_s) in zip(segments, truth, strict=True):
        assert segment.start_s == pytest.approx(start_s, abs=0.15)
        assert segment.end_s == pytest.approx(end_s, abs=0.15)
        assert segment.decided_s == pytest.approx(segment.end_s + DEFAULTS.end_silence_s, abs=0.04)
        assert not segment.truncated
        assert segment.dropped_s == 0


def test_samples_have_pre_roll_and_tail() -> None:
    samples = conversation(1, 2, 1)
    (segment,) = run(samples)
    start_s = position(segment, samples) / SAMPLE_RATE_HZ
    assert 0 < segment.start_s - start_s <= DEFAULTS.pre_roll_s
    tail_s = start_s + len(segment.samples) / SAMPLE_RATE_HZ - segment.end_s
    assert 0 < tail_s <= DEFAULTS.tail_s + 1e-9


def test_a_short_pause_does_not_end_an_utterance() -> None:
    assert len(run(conversation(1, 1, 0.3, 1, 1))) == 1


@pytest.mark.parametrize("duration_s", [0.05, 0.15])
def test_too_short_speech_is_ignored(duration_s: float) -> None:
    assert run(conversation(1, duration_s, 1)) == []


def test_speech_at_the_very_start_and_end_of_the_stream() -> None:
    samples = conversation(0, 2)
    (segment,) = run(samples, (777,))
    assert segment.start_s < 0.3
    assert segment.end_s == pytest.approx(2, abs=0.15)
    assert segment.decided_s == 2


@pytest.mark.parametrize("noise_dbfs", [-200, -60, -40, -20])
def test_noise_gives_no_utterance(noise_dbfs: float) -> None:
    assert run(silence(20, noise_dbfs)) == []


def test_long_speech_is_cut_without_losing_or_repeating_a_sample() -> None:
    samples = conversation(1, 23, 1)
    segments = run(samples)
    assert [segment.truncated for segment in segments] == [True, True, False]
    starts = [position(segment, samples) for segment in segments]
    for start, segment, following in zip(starts, segments, starts[1:], strict=False):
        assert start + len(segment.samples) == following
    assert all(8 * SAMPLE_RATE_HZ < len(segment.samples) <= 10 * SAMPLE_RATE_HZ for segment in segments[:-1])
    assert segments[0].start_s == pytest.approx(1, abs=0.15)
    assert segments[-1].end_s == pytest.approx(24, abs=0.15)


def test_a_cut_falls_into_the_quietest_moment() -> None:
    samples = conversation(0.5, 8.8, 0.2, 5, 1)
    first, _ = run(samples)
    end_s = (position(first, samples) + len(first.samples)) / SAMPLE_RATE_HZ
    assert 9.3 <= end_s <= 9.5


def test_what_remains_after_a_cut_is_an_utterance_however_short() -> None:
    for extra_s in (0.3, 0.5, 0.8):
        segments = run(conversation(0.5, 9.7 + extra_s, 1))
        assert [segment.truncated for segment in segments][-2:] == [True, False]
        assert len(segments[-1].samples) >= DEFAULTS.min_speech_s * SAMPLE_RATE_HZ


def test_a_pause_at_the_maximum_is_no_reason_to_cut() -> None:
    (segment,) = run(conversation(0.5, 9.5, 1))
    assert not segment.truncated
    assert len(segment.samples) <= 10 * SAMPLE_RATE_HZ


def test_lost_audio_ends_the_utterance_and_moves_the_clock() -> None:
    stage = segmenter()
    assert stage.push(conversation(1, 2)) == []
    (before,) = stage.push(conversation(1, 1, 0.2), lost_s=5.0)
    assert before.end_s == pytest.approx(3, abs=0.15)
    assert before.decided_s == 3
    assert before.dropped_s == 0
    (after,) = stage.push(silence(1), lost_s=0.25)
    assert after.start_s == pytest.approx(9, abs=0.15)
    assert after.end_s == pytest.approx(10, abs=0.15)
    assert after.dropped_s == 5.0
    assert stage.push(conversation(0.5, 1, 1))[0].dropped_s == 0.25


def test_a_restart_ends_the_utterance_and_forgets_the_room() -> None:
    for restarted in (False, True):
        stage = segmenter()
        stage.push(conversation(1, 2, 0.3))
        before = stage.push(silence(1, -30), restarted=restarted)
        assert (stage._vad.loudness.noise_dbfs > -35) == restarted
        if restarted:
            assert [segment.decided_s for segment in before] == [pytest.approx(3.3)]


def test_memory_is_bounded() -> None:
    stage = segmenter()
    for samples in (silence(60), speech_like(60)):
        for start in range(0, len(samples), 1600):
            stage.push(samples[start : start + 1600])
            assert len(stage._frames) * FRAME_SAMPLES <= (10 + DEFAULTS.end_silence_s) * SAMPLE_RATE_HZ
    stage.flush()
    stage.push(silence(60))
    assert len(stage._frames) * FRAME_SAMPLES <= SAMPLE_RATE_HZ


def test_flush_twice_gives_nothing_more() -> None:
    stage = segmenter()
    stage.push(conversation(1, 2))
    assert len(stage.flush()) == 1
    assert stage.flush() == []


@pytest.mark.parametrize("tail_s", [0.06, 0.24])
def test_what_is_complete_is_said_as_soon_as_the_tail_is_there(tail_s: float) -> None:
    started, provisional, ended = steps(conversation(1, 2, 1), tail_s=tail_s)
    assert kinds([started, provisional, ended]) == ["started", "provisional", "ended"]
    assert started.segment.decided_s == pytest.approx(1.4, abs=0.15)
    assert len(started.segment.samples) == 0
    assert provisional.segment.decided_s == pytest.approx(provisional.segment.end_s + tail_s)
    assert ended.segment.decided_s == pytest.approx(ended.segment.end_s + DEFAULTS.end_silence_s, abs=0.04)
    assert ended.segment.samples is provisional.segment.samples
    assert (ended.segment.start_s, ended.segment.end_s) == (provisional.segment.start_s, provisional.segment.end_s)


def test_who_goes_on_takes_back_what_was_complete() -> None:
    seen = steps(conversation(1, 1, 0.4, 1, 1))
    assert kinds(seen) == ["started", "provisional", "resumed", "provisional", "ended"]
    _, first, resumed, second, _ = (step.segment for step in seen)
    assert first.end_s == pytest.approx(2, abs=0.15)
    assert resumed.decided_s == pytest.approx(2.4, abs=0.15)
    assert second.end_s == pytest.approx(3.4, abs=0.15)
    assert np.array_equal(second.samples[: len(first.samples)], first.samples)


def test_where_people_mostly_go_on_answers_come_later_in_a_pause() -> None:
    pattern_s = (1, *(0.8, 0.3) * 8, 0.8, 1)
    at_once, patient = (
        kinds(steps(conversation(*pattern_s), withdrawn_share=share, tail_s=0.24)) for share in (1, 0.2)
    )
    assert at_once.count("resumed") >= 6
    assert 1 <= patient.count("resumed") <= 3
    finals = [run(conversation(*pattern_s), withdrawn_share=share) for share in (1, 0.2)]
    assert same(*finals), "only when they come, not what they are"


def test_the_silence_that_ends_an_utterance_adapts_to_the_source() -> None:
    hesitant = conversation(1, *(1, 0.6) * 40)
    fixed, adapting = run(hesitant), run(hesitant, end_silence_s="auto")
    assert len(fixed) >= 30
    assert len(adapting) < len(fixed) / 2
    assert adapting[-1].end_s == fixed[-1].end_s
    lost = segmenter(end_silence_s="auto")
    for _ in range(40):
        lost.push(conversation(0.1, 1, 0.6), lost_s=0.1)
    assert lost._pauses.end_frames == 17, "nobody knows how long a pause was that audio was lost in"


def test_what_is_cut_off_is_complete_only_when_it_ends() -> None:
    seen = steps(conversation(1, 2))
    assert kinds(seen) == ["started", "provisional", "ended"]
    assert seen[1].segment.decided_s == seen[2].segment.decided_s == 3
    assert kinds(steps(conversation(1, 12, 1))) == ["started", "provisional", "ended"] * 2


@pytest.mark.parametrize("end_silence_s", [0.1, 0.24])
def test_an_end_silence_within_the_tail_gives_both_at_once(end_silence_s: float) -> None:
    _, provisional, ended = steps(conversation(1, 2, 1), end_silence_s=end_silence_s, tail_s=0.24)
    assert provisional.segment.decided_s == ended.segment.decided_s


def test_partial_steps_have_what_was_said_so_far_from_a_second_on() -> None:
    seen = steps(conversation(1, 3.2, 1), partial_s=0.5)
    partials = [step.segment for step in seen if step.kind == "partial"]
    spoken_s = [segment.decided_s - segment.start_s for segment in partials]
    assert spoken_s[:5] == pytest.approx([0.99, 1.5, 2.01, 2.52, 3.03], abs=0.02)
    assert all(len(a.samples) < len(b.samples) for a, b in pairwise(partials))
    assert kinds(seen)[-2:] == ["provisional", "ended"], "nothing partial in the pause"


PATTERNS = st.lists(st.floats(0.05, 2.5), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(PATTERNS, st.lists(st.integers(1, 5000), min_size=1, max_size=4), st.integers(0, 5))
def test_blocking_makes_no_difference(pattern_s: list[float], lengths: list[int], seed: int) -> None:
    samples = conversation(*pattern_s, seed=seed)
    # A block of one sample after the other would only be slow.
    assert same(run(samples, [*lengths, 480]), run(samples, (len(samples),)))


@settings(max_examples=15, deadline=None)
@given(PATTERNS, st.lists(st.integers(1, 5000), min_size=1, max_size=4), st.floats(2, 6), st.floats(0, 0.5))
def test_every_utterance_goes_through_its_steps_whatever_the_blocking(
    pattern_s: list[float], lengths: list[int], max_s: float, tail_s: float
) -> None:
    samples = conversation(*pattern_s)
    values = {"partial_s": 0.4, "max_s": max_s, "tail_s": tail_s}
    seen = steps(samples, [*lengths, 480], **values)
    text = " ".join(kinds(seen))
    assert re.fullmatch(r"(started ((partial )*(provisional resumed )?)*provisional ended ?)*", text), text
    for before, step in pairwise(seen):
        if step.kind == "ended":
            assert step.segment.samples is before.segment.samples
        assert before.segment.decided_s <= step.segment.decided_s
    again = steps(samples, (len(samples),), **values)
    assert kinds(again) == kinds(seen)
    assert same([step.segment for step in again], [step.segment for step in seen])


@settings(max_examples=25, deadline=None)
@given(PATTERNS, st.floats(2, 6), st.floats(0, 0.5), st.floats(0.1, 5), st.integers(0, 5))
def test_segments_are_ordered_slices_that_do_not_overlap(
    pattern_s: list[float], max_s: float, pre_roll_s: float, end_silence_s: float, seed: int
) -> None:
    samples = conversation(*pattern_s, seed=seed)
    segments = run(samples, max_s=max_s, pre_roll_s=pre_roll_s, end_silence_s=end_silence_s)
    end = 0
    for segment in segments:
        start = position(segment, samples)
        assert start >= end
        end = start + len(segment.samples)
        assert len(segment.samples) <= max_s * SAMPLE_RATE_HZ
        assert start / SAMPLE_RATE_HZ <= segment.start_s < segment.end_s <= end / SAMPLE_RATE_HZ + 1e-9
        assert segment.end_s <= segment.decided_s + 1e-9
        assert end <= len(samples)


@settings(max_examples=15, deadline=None)
@given(PATTERNS, st.lists(st.tuples(st.integers(1, 20_000), st.floats(0, 3)), min_size=1, max_size=8))
def test_the_clock_counts_lost_audio(pattern_s: list[float], losses: list[tuple[int, float]]) -> None:
    samples = conversation(*pattern_s)
    stage, segments, start, lost_s = segmenter(), [], 0, 0.0
    for length, lost_before_s in losses:
        segments += stage.push(samples[start : start + length], lost_s=lost_before_s)
        start = min(start + length, len(samples))
        lost_s += lost_before_s
    segments += stage.push(speech_like(1)) + stage.flush()
    assert segments[-1].decided_s == pytest.approx(start / SAMPLE_RATE_HZ + 1 + lost_s, abs=0.001)
    assert sum(segment.dropped_s for segment in segments) == pytest.approx(lost_s)
