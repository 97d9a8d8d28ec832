import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.augment import Augmentation, add_noise, add_room, telephone, trim_silence
from edge.audio import SAMPLE_RATE_HZ, Waveform

lengths = st.one_of(st.integers(1, 50), st.integers(50, 20_000))
seeds = st.integers(0, 2**32)


def noise(samples: int, seed: int = 0, level: float = 0.1) -> Waveform:
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def power(waveform: Waveform) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))


@given(lengths, seeds, st.sampled_from([0.0, 1e-6, 0.1, 1.0]))
def test_copies_are_valid_audio_never_longer_never_empty(samples: int, seed: int, level: float) -> None:
    everything = Augmentation(
        noise_probability=1.0, room_probability=1.0, telephone_probability=1.0, trim_probability=1.0
    )
    waveform = np.clip(noise(samples, seed, level), -1, 1)
    before = waveform.copy()
    for augmentation in (everything, Augmentation()):
        copy = augmentation(waveform, np.random.default_rng(seed))
        assert copy.dtype == np.float32
        assert 1 <= len(copy) <= samples
        assert np.isfinite(copy).all()
        assert np.abs(copy).max() <= 1
        np.testing.assert_array_equal(copy, augmentation(waveform, np.random.default_rng(seed)))
    np.testing.assert_array_equal(waveform, before)


def test_copies_differ_from_each_other() -> None:
    rng = np.random.default_rng(0)
    copies = [Augmentation()(noise(8_000), rng) for _ in range(4)]
    assert len({copy.tobytes() for copy in copies}) == 4


def test_gain_alone_stays_within_its_limit() -> None:
    quiet = Augmentation(
        gain_db=6.0, noise_probability=0, room_probability=0, telephone_probability=0, trim_probability=0
    )
    waveform = noise(4_000, level=0.05)
    rng = np.random.default_rng(0)
    gains_db = [10 * np.log10(power(quiet(waveform, rng)) / power(waveform)) for _ in range(50)]
    assert -6 <= min(gains_db) < -4
    assert 4 < max(gains_db) <= 6.001


@given(seeds, st.floats(0, 40), st.floats(0, 1))
def test_noise_has_the_ratio_asked_for(seed: int, snr_db: float, tilt: float) -> None:
    waveform = noise(8_000)
    noisy = add_noise(waveform, snr_db, tilt, np.random.default_rng(seed))
    assert 10 * np.log10(power(waveform) / power(noisy - waveform)) == pytest.approx(snr_db, abs=0.05)


def test_tilted_noise_is_low() -> None:
    def share_below_1_khz(tilt: float) -> float:
        waveform = np.ones(16_000, np.float32)
        added = add_noise(waveform, 0.0, tilt, np.random.default_rng(0)) - waveform
        spectrum = np.abs(np.fft.rfft(added)) ** 2
        return float(spectrum[:1_000].sum() / spectrum.sum())

    assert share_below_1_khz(0.0) == pytest.approx(1 / 8, abs=0.02)
    assert share_below_1_khz(0.0) < share_below_1_khz(0.5) < share_below_1_khz(1.0)


@given(lengths, seeds, st.floats(0.01, 1.0))
def test_a_room_keeps_level_and_length_and_rings_on(samples: int, seed: int, decay_s: float) -> None:
    waveform = noise(samples, seed)
    wet = add_room(waveform, decay_s, np.random.default_rng(seed))
    assert len(wet) == samples
    assert power(wet) == pytest.approx(power(waveform), rel=1e-3)


def test_a_click_decays_in_a_room() -> None:
    click = np.zeros(16_000, np.float32)
    click[0] = 1.0
    wet = np.square(add_room(click, 0.5, np.random.default_rng(0)), dtype=np.float64)
    early, late, over = wet[1:1_600].sum(), wet[4_000:5_600].sum(), wet[8_100:].sum()
    assert early > 10 * late > 10 * over


def test_telephone_cuts_the_band() -> None:
    time_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    for frequency_hz, survives in ((100, False), (299, False), (1_000, True), (3_400, True), (4_000, False)):
        tone = np.sin(2 * np.pi * frequency_hz * time_s).astype(np.float32)
        assert power(telephone(tone)) == pytest.approx(0.5 if survives else 0.0, abs=1e-3), frequency_hz


def test_trimming_cuts_lead_and_tail_but_no_pause() -> None:
    silence, speech = np.zeros(8_000, np.float32), noise(3_200)
    waveform = np.concatenate([silence, speech, silence, speech, silence])
    np.testing.assert_array_equal(trim_silence(waveform, keep_s=0.0), waveform[8_000:-8_000])
    np.testing.assert_array_equal(trim_silence(waveform, keep_s=0.25), waveform[4_000:-4_000])
    np.testing.assert_array_equal(trim_silence(waveform, keep_s=9.0), waveform)
    np.testing.assert_array_equal(trim_silence(silence), silence)
