import numpy as np
import pytest

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.settings import VadSettings
from edge.vad import FRAME_SAMPLES, VoiceActivity, level, to_pcm
from helpers.signals import silence, speech_like


def voiced(samples: Waveform, vad: VoiceActivity | None = None) -> np.ndarray:
    vad = vad or VoiceActivity(VadSettings())
    whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
    return np.array([vad.is_voiced(frame) for frame in samples[:whole].reshape(-1, FRAME_SAMPLES)])


def hum() -> Waveform:
    time_s = np.arange(10 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    return sum(0.05 / k * np.sin(2 * np.pi * 50 * k * time_s) for k in range(1, 8)).astype(np.float32)


def clicks() -> Waveform:
    samples = silence(10)
    for start in range(8_000, len(samples) - 40, 11_000):
        samples[start : start + 40] += 0.5 * (-1) ** np.arange(40)
    return samples


def test_speech_is_voiced_also_when_it_starts_with_the_stream_and_never_pauses() -> None:
    for second in voiced(speech_like(20))[:660].reshape(-1, 33):
        assert second.mean() > 0.4


@pytest.mark.parametrize("gain_db", [-30, 14])
def test_quiet_and_clipping_speech_is_voiced(gain_db: float) -> None:
    quiet_room = silence(5, -90)
    assert voiced(quiet_room + speech_like(5) * np.float32(10 ** (gain_db / 20))).mean() > 0.4


@pytest.mark.parametrize(
    "noise",
    [
        silence(10, -40),
        silence(10, -20),
        np.concatenate([np.zeros(SAMPLE_RATE_HZ, np.float32), silence(9, -40)]),
        np.zeros(10 * SAMPLE_RATE_HZ, np.float32),
        np.full(10 * SAMPLE_RATE_HZ, 0.2, np.float32),
        hum(),
        clicks(),
    ],
    ids=["white -40 dBFS", "white -20 dBFS", "zeros, then white", "digital silence", "DC offset", "hum", "clicks"],
)
def test_noise_is_not_voiced(noise: Waveform) -> None:
    assert voiced(noise).mean() < 0.05


def test_frames_below_the_gate_are_not_voiced() -> None:
    quiet = speech_like(3) * np.float32(0.01)
    assert voiced(quiet, VoiceActivity(VadSettings(gate_dbfs=-70))).any()
    assert not voiced(quiet, VoiceActivity(VadSettings(gate_dbfs=-30))).any()


@pytest.mark.parametrize("gain_db", [-30, -45])
def test_a_quiet_microphone_is_followed_where_that_is_wanted(gain_db: float) -> None:
    samples = (silence(5, -60) + speech_like(5)) * np.float32(10 ** (gain_db / 20))
    usual = voiced(silence(5, -60) + speech_like(5))
    found = voiced(samples, VoiceActivity(VadSettings(max_gain_db=30)))
    assert found[usual].mean() > 0.9
    assert voiced(samples)[usual].mean() < found[usual].mean() - 0.02


@pytest.mark.parametrize("noise", [silence(10, -40), silence(10, -80), hum() / 30, clicks() / 30])
def test_noise_is_not_followed(noise: Waveform) -> None:
    assert voiced(noise, VoiceActivity(VadSettings(max_gain_db=30))).mean() < 0.05


def test_who_is_heard_close_by_shuts_out_the_next_room() -> None:
    vad, next_room = VoiceActivity(VadSettings(max_gain_db=30)), speech_like(5, 1) * np.float32(0.003)
    room = silence(5, -90)
    assert voiced(room + next_room, vad).mean() > 0.4
    assert voiced(speech_like(5), vad).mean() > 0.4
    assert not voiced(room + next_room, vad).any()
    vad.reset()
    assert voiced(room + next_room, vad).mean() > 0.4


def test_speech_must_exceed_the_noise() -> None:
    murmur = silence(6, -30) + speech_like(6) * np.float32(0.1)
    assert not voiced(murmur).any()


def test_noise_floor_falls_at_once_and_rises_within_seconds() -> None:
    vad = VoiceActivity(VadSettings())
    voiced(silence(4, -40), vad)
    assert vad.noise_dbfs == pytest.approx(-40, abs=1)
    voiced(silence(0.06, -70), vad)
    assert vad.noise_dbfs == pytest.approx(-70, abs=1)
    voiced(silence(1, -40), vad)
    assert vad.noise_dbfs == pytest.approx(-70, abs=1)
    voiced(silence(1.2, -40), vad)
    assert vad.noise_dbfs == pytest.approx(-40, abs=1)


def test_reset_forgets_the_stream() -> None:
    samples = np.concatenate([silence(1), speech_like(3)])
    vad = VoiceActivity(VadSettings())
    first = voiced(samples, vad)
    vad.reset()
    assert (voiced(samples, vad) == first).all()


def test_pcm_is_clipped_and_does_not_wrap_around() -> None:
    samples = np.array([0, 1, 1.5, -1, -1.5, 0.5], np.float32)
    assert np.frombuffer(to_pcm(samples), "<i2").tolist() == [0, 32767, 32767, -32768, -32768, 16384]


def test_level_ignores_a_dc_offset() -> None:
    samples = silence(1, -40)
    assert level(samples + np.float32(0.3)) == pytest.approx(-40, abs=0.2)
