import numpy as np
import pytest

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.errors import UsageError
from edge.high_pass import high_passed
from edge.settings import VadSettings
from edge.vad import (
    FRAME_SAMPLES,
    EarshotActivity,
    Loudness,
    VoiceActivity,
    WebRtcActivity,
    level,
    to_pcm,
    voice_activity,
    warn_of_webrtc,
)
from helpers.signals import silence, speech_like


def voiced(samples: Waveform, vad: VoiceActivity | None = None) -> np.ndarray:
    vad = vad or voice_activity(VadSettings())
    whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
    return np.array([vad.is_voiced(frame) for frame in high_passed(samples)[:whole].reshape(-1, FRAME_SAMPLES)])


@pytest.fixture(params=["earshot", "webrtc"])
def vad(request: pytest.FixtureRequest) -> VoiceActivity:
    return voice_activity(VadSettings(detector=request.param))


def hum() -> Waveform:
    time_s = np.arange(10 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    return sum(0.05 / k * np.sin(2 * np.pi * 50 * k * time_s) for k in range(1, 8)).astype(np.float32)


def clicks() -> Waveform:
    samples = silence(10)
    for start in range(8_000, len(samples) - 40, 11_000):
        samples[start : start + 40] += 0.5 * (-1) ** np.arange(40)
    return samples


def test_speech_is_voiced_also_when_it_starts_with_the_stream_and_never_pauses(vad: VoiceActivity) -> None:
    for second in voiced(speech_like(20), vad)[:660].reshape(-1, 33):
        assert second.mean() > 0.4


@pytest.mark.parametrize("gain_db", [-30, 14])
def test_quiet_and_clipping_speech_is_voiced(gain_db: float, vad: VoiceActivity) -> None:
    quiet_room = silence(5, -90)
    assert voiced(quiet_room + speech_like(5) * np.float32(10 ** (gain_db / 20)), vad).mean() > 0.4


@pytest.mark.parametrize("gain_db", [-40, -30, -20, -10, 10])
def test_a_microphone_turned_down_or_up_hears_the_same(gain_db: float) -> None:
    samples = np.concatenate([silence(2, -70), silence(4, -70) + speech_like(4), silence(2, -70)])
    usual = voiced(samples)
    found = voiced(np.clip(samples * np.float32(10 ** (gain_db / 20)), -1, 1))
    assert found[usual].mean() > 0.9
    assert found[:60].mean() == found[-50:].mean() == 0


def test_speech_that_begins_at_once_is_not_its_own_noise() -> None:
    speech = speech_like(3, 2)
    usual = voiced(np.concatenate([silence(0.9), speech]))[30:]
    at_once = voiced(speech)
    assert at_once[:20][usual[:20]].mean() > 0.7
    assert at_once[usual].mean() > 0.9


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
def test_noise_is_not_voiced(noise: Waveform, vad: VoiceActivity) -> None:
    assert voiced(noise, vad).mean() < 0.05


@pytest.mark.parametrize("level_dbfs", [-100, -90, -80, -70, -60, -50])
def test_the_hiss_of_a_quiet_room_is_not_voiced(level_dbfs: float, vad: VoiceActivity) -> None:
    hiss = np.round(silence(20, level_dbfs) * 32768).astype(np.float32) / 32768
    assert not voiced(hiss, vad).any()


@pytest.mark.parametrize("share_db", [10, 5, 0])
def test_speech_in_noise_is_voiced(share_db: float) -> None:
    speech = np.concatenate([silence(2), speech_like(3), silence(2)])
    usual = voiced(speech)
    noisy = voiced(speech + silence(7, -20 - share_db, 1))
    assert noisy[usual].mean() > {10: 0.9, 5: 0.8, 0: 0.7}[share_db]
    assert noisy[:60].mean() < 0.05


def test_without_earshot_webrtc_takes_over_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(voice_activity(VadSettings()), EarshotActivity)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    warn_of_webrtc.cache_clear()
    assert isinstance(voice_activity(VadSettings()), WebRtcActivity)
    assert isinstance(voice_activity(VadSettings()), WebRtcActivity)
    assert [record.message for record in caplog.records] == [
        "earshot is not installed: WebRTC detects voice activity, and misses more of it in noise"
    ]
    with pytest.raises(UsageError, match=r"vad\.detector: earshot is not installed: pip install earshot, or"):
        voice_activity(VadSettings(detector="earshot"))


def test_frames_below_the_gate_are_not_voiced() -> None:
    quiet = speech_like(3) * np.float32(0.01)
    assert voiced(quiet, voice_activity(VadSettings(gate_dbfs=-70))).any()
    assert not voiced(quiet, voice_activity(VadSettings(gate_dbfs=-30))).any()


def test_speech_must_exceed_the_noise() -> None:
    murmur = silence(6, -30) + speech_like(6) * np.float32(0.1)
    assert not voiced(murmur, voice_activity(VadSettings(detector="webrtc"))).any()
    assert not voiced(murmur, voice_activity(VadSettings(above_noise_db=12))).any()


def test_noise_floor_falls_at_once_and_rises_within_seconds() -> None:
    loudness = Loudness()

    def follow(samples: Waveform) -> float:
        for frame in samples.reshape(-1, FRAME_SAMPLES):
            loudness.follow(frame)
        return loudness.noise_dbfs

    assert follow(silence(4.2, -40)) == pytest.approx(-40, abs=1)
    assert follow(silence(0.06, -70)) == pytest.approx(-70, abs=1)
    assert follow(silence(1.02, -40)) == pytest.approx(-70, abs=1)
    assert follow(silence(1.2, -40)) == pytest.approx(-40, abs=1)


def test_reset_forgets_the_stream(vad: VoiceActivity) -> None:
    samples = np.concatenate([silence(1), speech_like(3)])
    first = voiced(samples, vad)
    vad.reset()
    assert (voiced(samples, vad) == first).all()


def test_pcm_is_clipped_and_does_not_wrap_around() -> None:
    samples = np.array([0, 1, 1.5, -1, -1.5, 0.5], np.float32)
    assert np.frombuffer(to_pcm(samples), "<i2").tolist() == [0, 32767, 32767, -32768, -32768, 16384]


def test_level_ignores_a_dc_offset() -> None:
    samples = silence(1, -40)
    assert level(samples + np.float32(0.3)) == pytest.approx(-40, abs=0.2)
