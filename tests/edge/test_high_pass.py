from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.high_pass import HighPass, high_passed
from edge.segment import Segment
from edge.segmenter import Segmenter
from edge.settings import SegmenterSettings, VadSettings
from edge.spoken import spoken
from edge.vad import FRAME_SAMPLES, level
from helpers.signals import silence, speech_like, tone_at

CUTOFF_HZ = 80.0


def segments(samples: Waveform, *, vad: VadSettings | None = None, lengths: tuple[int, ...] = (5000,)) -> list[Segment]:
    stage, found, start, turn = Segmenter(vad or VadSettings(), SegmenterSettings()), [], 0, 0
    while start < len(samples):
        length = lengths[turn % len(lengths)]
        found += stage.push(samples[start : start + length])
        start, turn = start + length, turn + 1
    return found + stage.flush()


@pytest.mark.parametrize(
    ("frequency_hz", "change_db"),
    [(20, -24.1), (40, -12.3), (50, -8.8), (80, -3.0), (160, -0.3), (1000, 0.0), (7000, 0.0)],
)
def test_it_is_a_second_order_butterworth(frequency_hz: float, change_db: float) -> None:
    tone = tone_at(frequency_hz, 2.0)
    passed = high_passed(tone, CUTOFF_HZ)
    assert passed.dtype == np.float32
    assert level(passed[8000:]) - level(tone[8000:]) == pytest.approx(change_db, abs=0.1)


def test_it_is_the_recursion_sample_by_sample() -> None:
    scipy_signal = pytest.importorskip("scipy.signal")
    samples = silence(0.5, -20) + np.float32(0.1)
    b, a = scipy_signal.butter(2, CUTOFF_HZ, "high", fs=SAMPLE_RATE_HZ)
    state = scipy_signal.lfilter_zi(b, a) * samples[0]
    expected = scipy_signal.lfilter(b, a, samples.astype(np.float64), zi=state)[0]
    np.testing.assert_allclose(high_passed(samples, CUTOFF_HZ), expected, atol=1e-6)


def test_an_offset_is_silence_from_its_first_sample_on() -> None:
    assert np.abs(high_passed(np.full(SAMPLE_RATE_HZ, 0.3, np.float32), CUTOFF_HZ)).max() < 1e-6


def test_zero_takes_out_nothing() -> None:
    samples = silence(1.01, -20)
    np.testing.assert_array_equal(high_passed(samples, 0.0), samples)


def test_a_reset_forgets_the_stream() -> None:
    frames = silence(0.3, -20).reshape(-1, FRAME_SAMPLES)
    high_pass = HighPass(CUTOFF_HZ)
    first = [high_pass(frame) for frame in frames]
    high_pass.reset()
    np.testing.assert_array_equal([high_pass(frame) for frame in frames], first)


@pytest.mark.parametrize("samples", [0, 1, 479, 480, 481])
def test_no_length_is_special(samples: int) -> None:
    noise = silence(1, -20)
    np.testing.assert_array_equal(high_passed(noise[:samples]), high_passed(noise)[:samples])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=4), st.integers(0, 5), st.sampled_from(["auto", "webrtc"]))
def test_segments_are_of_the_recording_filtered_as_a_whole(lengths: list[int], seed: int, detector: str) -> None:
    samples = np.concatenate([silence(0.7), speech_like(1.3, seed), silence(0.8), speech_like(0.9, seed)])
    vad = VadSettings.model_validate({"detector": detector})
    filtered = high_passed(samples)
    found = segments(samples, vad=vad, lengths=(*lengths, 480))
    assert found
    whole = segments(samples, vad=vad, lengths=(len(samples),))
    assert [segment.start_s for segment in found] == [segment.start_s for segment in whole]
    for segment, same in zip(found, whole, strict=True):
        np.testing.assert_array_equal(segment.samples, same.samples)
        windows = np.lib.stride_tricks.sliding_window_view(filtered, len(segment.samples))[::FRAME_SAMPLES]
        assert (windows == segment.samples).all(axis=1).any()


def test_what_holds_no_voice_is_filtered_too() -> None:
    samples = silence(1.0, -20)
    np.testing.assert_array_equal(spoken(samples), high_passed(samples))


@pytest.mark.parametrize("gap", [{"lost_s": 0.5}, {"restarted": True}], ids=str)
def test_after_a_gap_the_filter_starts_afresh(gap: dict[str, float]) -> None:
    stage, after = Segmenter(VadSettings(), SegmenterSettings()), np.concatenate([speech_like(2.0), silence(1.0)])
    stage.push(np.concatenate([silence(0.5), np.full(1000, 0.9, np.float32)]))
    (segment,) = stage.push(after, **gap)
    alone = high_passed(after)
    windows = np.lib.stride_tricks.sliding_window_view(alone, len(segment.samples))[::FRAME_SAMPLES]
    assert (windows == segment.samples).all(axis=1).any()


def test_clipping_is_counted_as_it_arrived() -> None:
    voice = np.concatenate([silence(0.5), np.clip(8 * speech_like(2.0), -1, 1), silence(1.0)])
    (segment,) = segments(voice)
    assert 0.05 < segment.clipped < 0.5
    (clean,) = segments(np.concatenate([silence(0.5), speech_like(2.0), silence(1.0)]))
    assert clean.clipped == 0


def voice_s(samples: Waveform) -> float:
    return sum(segment.end_s - segment.start_s for segment in segments(samples))


@pytest.mark.parametrize(
    "hum",
    [
        tone_at(50, 8.0),
        tone_at(60, 8.0),
        tone_at(50, 8.0) + tone_at(100, 8.0) / 10 + tone_at(150, 8.0) / 30,
        tone_at(30, 8.0),
    ],
    ids=["50 Hz", "60 Hz", "50 Hz and harmonics", "30 Hz"],
)
def test_hum_as_loud_as_the_voice_hides_nothing(hum: Waveform) -> None:
    voice = np.concatenate([silence(1.5), speech_like(2.0), silence(1.0), speech_like(2.5, 1), silence(1.0)])
    spoken_only = voice[24_000:56_000]
    loud = hum * np.float32(np.sqrt(np.mean(spoken_only**2) / np.mean(hum**2)))
    assert voice_s(voice + loud) == pytest.approx(voice_s(voice), rel=0.1)
    assert voice_s(loud) == 0


def test_rumble_is_no_voice() -> None:
    drift = np.cumsum(np.random.default_rng(0).standard_normal(8 * SAMPLE_RATE_HZ))
    rumble = high_passed((drift / np.abs(drift).max()).astype(np.float32), 5.0)
    voice = np.concatenate([silence(1.5), speech_like(2.0), silence(1.0), speech_like(2.5, 1), silence(1.0)])
    loud = rumble * np.float32(0.05 / rumble.std())
    assert voice_s(loud) == 0
    assert voice_s(voice + loud) == pytest.approx(voice_s(voice), rel=0.1)
