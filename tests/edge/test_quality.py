from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.people.quality import (
    Sound,
    amount_doubts,
    measure,
    one_sided,
    recording_doubts,
    similar_people,
    strange_clips,
)
from edge.segment import FULL_SCALE, Segment
from edge.speaker import VoiceCalibration
from helpers.signals import silence, speech_like

CALIBRATION = VoiceCalibration(np.array([-10.0, 20.0, 0, 0, 0, 0]))
GOOD = Sound(speech_s=2.0, level_dbfs=-25.0, noise_db=30.0, clipped=0.0)
ANNA, BO = np.eye(2, dtype=np.float32)


def segment(samples: Waveform, speech_s: float = 1.0) -> Segment:
    return Segment(samples, 0.25, 0.25 + speech_s, 1.5, clipped=float((np.abs(samples) >= FULL_SCALE).mean()))


def spoken(gain: float = 1.0, room_dbfs: float = -80.0) -> Waveform:
    """A second of speech, with a quarter of a second of room before and after it."""
    quiet = np.zeros(SAMPLE_RATE_HZ // 4, np.float32)
    speech = np.concatenate([quiet, gain * speech_like(1.0), quiet])
    return (speech + silence(1.5, room_dbfs)).astype(np.float32)


def prints(*voices: np.ndarray) -> np.ndarray:
    return np.stack(voices).astype(np.float32)


def seconds(count: int) -> np.ndarray:
    return np.full(count, 2.0)


def test_a_good_recording_has_no_faults() -> None:
    sound = measure(segment(spoken()))
    assert sound.speech_s == pytest.approx(1.0)
    assert -25 < sound.level_dbfs < -15
    assert sound.noise_db > 40
    assert sound.clipped == 0
    assert sound.fault is None
    assert recording_doubts([sound]) == []


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.clip(spoken(4.0), -1, 1), "the clip is clipped: turn the microphone down"),
        (spoken(0.01, -120.0), "the clip is quiet (down to -5"),
        (spoken(1.0, -22.0), "the clip is noisy (voice "),
    ],
)
def test_bad_recordings_are_told_apart(samples: Waveform, words: str) -> None:
    sound = measure(segment(samples))
    (doubt,) = recording_doubts([sound])
    assert doubt.startswith(words)


def test_what_would_teach_something_false_is_a_fault() -> None:
    assert "badly clipped" in str(measure(segment(np.clip(spoken(30.0), -1, 1))).fault)
    assert "only 0.3 s of speech" in str(measure(segment(spoken(), speech_s=0.3)).fault)


def test_doubts_about_many_clips_are_one_line_each() -> None:
    quiet = Sound(2.0, -52.0, 5.0, 0.0)
    assert recording_doubts([GOOD, quiet, quiet]) == [
        "2 of 3 clips are quiet (down to -52 dBFS): come closer, or turn it up",
        "2 of 3 clips are noisy (voice 5 dB above the room): find a quieter place",
    ]
    assert recording_doubts([GOOD, quiet])[0].startswith("1 of 2 clips is quiet")
    assert recording_doubts([]) == []


def test_too_little_speech() -> None:
    assert amount_doubts(4, 10.0) == []
    assert amount_doubts(3, 10.0)[0].startswith("only 3 clips, 10 s")
    assert amount_doubts(8, 5.0)


@given(
    npst.arrays(np.float32, st.integers(1, 4_000), elements=st.floats(-8, 8, width=32)),
    st.floats(0, 20, allow_nan=False),
)
def test_any_segment_can_be_measured(samples: Waveform, speech_s: float) -> None:
    sound = measure(segment(samples, speech_s))
    assert np.isfinite([sound.level_dbfs, sound.noise_db]).all()
    assert sound.noise_db >= 0
    assert 0 <= sound.clipped <= 1
    recording_doubts([sound])


def test_a_clip_of_another_voice_is_found() -> None:
    voices = prints(ANNA, ANNA, BO, ANNA, ANNA)
    assert strange_clips(CALIBRATION, voices, seconds(5)) == [2]
    assert strange_clips(CALIBRATION, prints(*[ANNA] * 5), seconds(5)) == []


def test_two_voices_in_equal_parts_are_found() -> None:
    between = (ANNA + BO) / np.sqrt(2)
    wide = VoiceCalibration(np.array([-4.0, 5.0, 0, 0, 0, 0]))
    assert strange_clips(wide, prints(ANNA, BO, ANNA, BO, BO, ANNA, BO), seconds(7)) == [0, 2, 5]
    assert strange_clips(wide, prints(ANNA, between, ANNA, between, ANNA, between), seconds(6)) == []


def test_a_few_clips_do_not_tell_another_voice_from_another_mood() -> None:
    assert strange_clips(CALIBRATION, prints(ANNA, ANNA, BO), seconds(3)) == []
    assert strange_clips(CALIBRATION, np.zeros((0, 0), np.float32), seconds(0)) == []


def test_people_who_sound_alike_are_named_the_likeliest_first() -> None:
    between = (ANNA + 0.3 * BO) / np.linalg.norm(ANNA + 0.3 * BO)
    people = {"Close": prints(between), "Same": prints(ANNA), "Other": prints(BO), "None": np.zeros((0, 0), np.float32)}
    assert similar_people(CALIBRATION, prints(ANNA, ANNA), seconds(2), people) == ["Same", "Close"]
    assert similar_people(CALIBRATION, np.zeros((0, 0), np.float32), seconds(0), people) == []


def test_one_sided_enrolment() -> None:
    assert one_sided(["angry"] * 5) == "angry"
    assert one_sided(["angry"] * 18 + ["happy", "sad"]) == "angry"
    assert one_sided(["angry"] * 6 + ["happy"] * 2) is None
    assert one_sided(["angry"] * 3) is None
    assert one_sided([]) is None
