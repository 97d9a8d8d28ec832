import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.capture import Block
from edge.hearing import Finding, Hearing, SoundMeter, diagnosis
from helpers.signals import silence, speech_like

GATE_DBFS = -80.0
VOICE = np.concatenate([part for seed in range(3) for part in (speech_like(2.0, seed), silence(1.0, -70, seed))])
OTHER = np.roll(VOICE[::-1], 7_000)
SILENCE = np.zeros_like(VOICE)


def stereo(left: Waveform, right: Waveform) -> Matrix:
    return np.stack([left, right], axis=1).astype(np.float32)


TROUBLE = {
    "digital_silence": VOICE[:, None] * 0 + np.float32(0.1),
    "below_gate": silence(9.0, -88.0)[:, None],
    "channels_cancel": stereo(VOICE + silence(9.0, -75, 1), -0.9 * VOICE),
    "dead_channel": stereo(VOICE, SILENCE),
    "clipping": np.clip(20 * VOICE, -1, 1)[:, None],
}
NO_TROUBLE = {
    "mono": VOICE[:, None],
    "the same twice": stereo(VOICE, VOICE),
    "two rooms": stereo(VOICE, OTHER),
    "a quiet channel": stereo(VOICE, VOICE / 300),
    "a quiet room": silence(9.0, -78.0)[:, None],
    "a slammed door": np.concatenate([VOICE, np.ones(2_000, np.float32), VOICE])[:, None],
    "a loud moment upside down": stereo(
        np.concatenate([silence(9.0, -70), speech_like(1.0)]), np.concatenate([silence(9.0, -70, 1), -speech_like(1.0)])
    ),
}


def blocks(arrived: Matrix, lengths: Sequence[int] = (480,), rate_hz: int = SAMPLE_RATE_HZ) -> list[Block]:
    cuts = np.minimum(np.cumsum([0, *(lengths[turn % len(lengths)] for turn in range(len(arrived)))]), len(arrived))
    return [
        Block(np.zeros(0, np.float32), 0.0, arrived=arrived[start:end], rate_hz=rate_hz)
        for start, end in pairwise(cuts)
        if end > start
    ]


def reports(arrived: Matrix, report_s: float = 5.0, lengths: Sequence[int] = (480,)) -> list[tuple[float, str]]:
    """Return when, in seconds of the source, what was reported."""
    hearing, heard, found = Hearing(report_s, GATE_DBFS), 0, []
    for block in blocks(arrived, lengths):
        assert block.arrived is not None
        heard += len(block.arrived)
        found += [(heard / SAMPLE_RATE_HZ, finding.reason) for finding in hearing.follow(block)]
    return found


@pytest.mark.parametrize("reason", TROUBLE)
def test_trouble_is_reported_once_in_time_and_so_is_its_end(reason: str) -> None:
    wrong = np.concatenate([TROUBLE[reason]] * 3)
    good = np.repeat(VOICE[:, None], wrong.shape[1], axis=1)
    (reported_s, reported), (recovered_s, recovered) = reports(np.concatenate([good, wrong, good]))
    wrong_s = len(VOICE) / SAMPLE_RATE_HZ
    assert (reported, recovered) == (reason, "recovered")
    # What cancels or clips is noticed in the sum of the last 5 s.
    assert wrong_s + 1 <= reported_s <= wrong_s + 5.6
    assert 4 * wrong_s <= recovered_s <= 4 * wrong_s + 5.6


@pytest.mark.parametrize("source", NO_TROUBLE)
def test_nothing_is_wrong_with_what_is_heard(source: str) -> None:
    assert reports(np.concatenate([NO_TROUBLE[source]] * 3)) == []


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("digital_silence", "muted, or not connected"),
        ("below_gate", r"vad.gate_dbfs \(-80 dBFS\), -8\d at most"),
        ("channels_cancel", r"2 channels are at -\d\d dBFS .* upside down"),
        ("dead_channel", "channel 2 of 2"),
        ("clipping", r"\d\d?\.\d% of it .* turn it down"),
    ],
)
def test_a_message_says_what_was_heard_and_what_to_do(reason: str, words: str) -> None:
    finding = diagnosis_of(TROUBLE[reason])
    assert finding
    assert finding.reason == reason
    assert re.search(words, finding.message)


def diagnosis_of(arrived: Matrix) -> Finding | None:
    meter = SoundMeter(1.0)
    windows = [window for block in blocks(arrived) for window in meter.windows(block)]
    return diagnosis(windows + meter.last(), GATE_DBFS)


def test_a_recording_shorter_than_a_window_is_judged_too() -> None:
    assert diagnosis_of(np.zeros((1_600, 1), np.float32)) is not None
    assert diagnosis_of(np.zeros((100, 1), np.float32)) is None
    assert diagnosis_of(VOICE[:8_000, None]) is None


@given(
    st.lists(st.sampled_from(sorted(TROUBLE)) | st.just(""), min_size=1, max_size=4),
    st.lists(st.integers(1, 40_000), min_size=1, max_size=5),
    st.sampled_from([0.5, 2.0, 5.0]),
)
@settings(max_examples=15)
def test_how_the_audio_is_blocked_makes_no_difference(kinds: list[str], lengths: list[int], report_s: float) -> None:
    lengths = [max(length, 200) for length in lengths]
    arrived = np.concatenate([_two(TROUBLE[kind]) if kind else stereo(VOICE, OTHER) for kind in kinds])
    assert [reason for _, reason in reports(arrived, report_s, lengths)] == [
        reason for _, reason in reports(arrived, report_s)
    ]


def _two(arrived: Matrix) -> Matrix:
    return arrived if arrived.shape[1] == 2 else np.repeat(arrived, 2, axis=1)


def test_a_source_without_channels_of_its_own_is_judged_by_its_samples() -> None:
    hearing = Hearing(1.0, GATE_DBFS)
    (finding,) = hearing.follow(Block(np.zeros(2 * SAMPLE_RATE_HZ, np.float32), 0.0))
    assert finding.reason == "digital_silence"


def test_what_comes_again_and_again_must_last_longer_to_be_reported() -> None:
    push_to_talk = np.concatenate([np.concatenate([SILENCE[: 6 * SAMPLE_RATE_HZ], VOICE])] * 6)[:, None]
    assert [reason for _, reason in reports(push_to_talk)] == ["digital_silence", "recovered"]
    muted = np.concatenate([push_to_talk, SILENCE[:, None], SILENCE[:, None]])
    assert [reason for _, reason in reports(muted)] == ["digital_silence", "recovered", "digital_silence"]


def test_a_source_that_is_still_silent_after_it_was_opened_again_is_not_reported_again() -> None:
    hearing = Hearing(1.0, GATE_DBFS)
    silent = Block(np.zeros(2 * SAMPLE_RATE_HZ, np.float32), 0.0)
    assert hearing.follow(silent)
    again = Block(silent.samples, 0.0, lost_s=3.0, restarted=True, arrived=np.zeros((40_000, 2), np.float32))
    assert hearing.follow(again) == []
    sounding = Block(silent.samples, 0.0, arrived=stereo(VOICE, VOICE))
    assert [finding.reason for finding in hearing.follow(sounding)] == ["recovered"]


def test_channels_are_judged_at_the_rate_of_the_source() -> None:
    arrived = stereo(np.repeat(VOICE, 3), -np.repeat(VOICE, 3))
    hearing = Hearing(5.0, GATE_DBFS)
    found = [finding for block in blocks(arrived, (1_440,), 48_000) for finding in hearing.follow(block)]
    assert [finding.reason for finding in found] == ["channels_cancel"]
