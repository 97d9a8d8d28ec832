import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.recipe import AugmentationRecipe
from calibrate.training.augment import CROP_S, add_noise, add_room, augment, crop, telephone, trim_silence
from calibrate.training.perturb import CODECS, change_speed, change_tempo, code, mask
from edge.audio import SAMPLE_RATE_HZ, Waveform

lengths = st.one_of(st.integers(1, 50), st.integers(50, 20_000))
seeds = st.integers(0, 2**32)


def noise(samples: int, seed: int = 0, level: float = 0.1) -> Waveform:
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def power(waveform: Waveform) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))


QUIET = AugmentationRecipe(
    gain_db=0, noise_probability=0, room_probability=0, telephone_probability=0, trim_probability=0
)


@settings(max_examples=50, deadline=None)
@given(lengths, seeds, st.sampled_from([0.0, 1e-6, 0.1, 1.0]))
def test_copies_are_valid_audio_never_empty(samples: int, seed: int, level: float) -> None:
    channel = AugmentationRecipe(noise_probability=1, room_probability=1, telephone_probability=1, trim_probability=1)
    everything = channel.model_copy(
        update={"speed": 0.2, "tempo": 0.2, "codec_probability": 1.0, "mask": 0.3, "crop_probability": 1.0}
    )
    waveform = np.clip(noise(samples, seed, level), -1, 1)
    before = waveform.copy()
    for augmentation, longest in ((channel, samples), (AugmentationRecipe(), samples), (everything, samples * 1.6 + 1)):
        copy = augment(waveform, augmentation, np.random.default_rng(seed))
        assert copy.dtype == np.float32
        assert 1 <= len(copy) <= longest
        assert np.isfinite(copy).all()
        assert np.abs(copy).max() <= 1
        np.testing.assert_array_equal(copy, augment(waveform, augmentation, np.random.default_rng(seed)))
    np.testing.assert_array_equal(waveform, before)


def test_a_step_that_is_off_changes_neither_the_draws_nor_the_name() -> None:
    augmentation = AugmentationRecipe(speed=0.0, codec_probability=0.0, crop_probability=0.0)
    assert augmentation.key == (
        "Augmentation(gain_db=(-12.0, 12.0), noise_probability=0.5, snr_db=(5.0, 30.0), room_probability=0.3, "
        "decay_s=(0.1, 0.5), telephone_probability=0.15, trim_probability=0.7)"
    )
    assert (
        QUIET.model_copy(update={"mask": 0.1}).key == "Augmentation(snr_db=(5.0, 30.0), decay_s=(0.1, 0.5), mask=0.1)"
    )
    rng = np.random.default_rng(0)
    augment(noise(8_000), QUIET, rng)
    untouched = np.random.default_rng(0)
    untouched.random(4)
    untouched.uniform(-1, 1)
    assert rng.random() == untouched.random()


def test_crops_are_random_pieces_of_the_length_of_short_turns() -> None:
    waveform = np.arange(10 * SAMPLE_RATE_HZ, dtype=np.float32)
    augmentation = QUIET.model_copy(update={"crop_probability": 1.0})
    rng = np.random.default_rng(0)
    pieces = [augment(waveform / len(waveform), augmentation, rng) for _ in range(50)]
    lengths_s = np.array([len(piece) for piece in pieces]) / SAMPLE_RATE_HZ
    assert CROP_S[0] <= lengths_s.min() < lengths_s.max() <= CROP_S[1]
    assert np.ptp(lengths_s) > 0.8 * np.ptp(CROP_S)
    starts_s = np.array([piece[0] * 10 for piece in pieces])
    assert starts_s.min() < 1
    assert starts_s.max() > 5
    half = QUIET.model_copy(update={"crop_probability": 0.5})
    cropped = sum(len(augment(waveform, half, rng)) < len(waveform) for _ in range(200))
    assert 70 < cropped < 130


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4 * SAMPLE_RATE_HZ), st.floats(0, 5), seeds)
def test_a_crop_is_a_piece_and_never_empty(samples: int, length_s: float, seed: int) -> None:
    waveform = np.arange(samples, dtype=np.float32)
    piece = crop(waveform, length_s, np.random.default_rng(seed))
    assert len(piece) == min(samples, max(1, round(length_s * SAMPLE_RATE_HZ)))
    np.testing.assert_array_equal(np.diff(piece), 1)


def test_copies_differ_from_each_other() -> None:
    rng = np.random.default_rng(0)
    copies = [augment(noise(8_000), AugmentationRecipe(), rng) for _ in range(4)]
    assert len({copy.tobytes() for copy in copies}) == 4


def test_gain_alone_stays_within_its_limit() -> None:
    quiet = AugmentationRecipe(
        gain_db=(-20, 6), noise_probability=0, room_probability=0, telephone_probability=0, trim_probability=0
    )
    waveform = noise(4_000, level=0.05)
    rng = np.random.default_rng(0)
    gains_db = [10 * np.log10(power(augment(waveform, quiet, rng)) / power(waveform)) for _ in range(50)]
    assert -20.001 <= min(gains_db) < -18
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
    for frequency_hz, survives in ((100, False), (280, False), (1_000, True), (3_380, True), (4_000, False)):
        tone = np.sin(2 * np.pi * frequency_hz * time_s).astype(np.float32)
        assert power(telephone(tone)) == pytest.approx(0.5 if survives else 0.0, abs=5e-3), frequency_hz


def test_trimming_cuts_lead_and_tail_but_no_pause() -> None:
    silence, speech = np.zeros(8_000, np.float32), noise(3_200)
    waveform = np.concatenate([silence, speech, silence, speech, silence])
    np.testing.assert_array_equal(trim_silence(waveform, keep_s=0.0), waveform[8_000:-8_000])
    np.testing.assert_array_equal(trim_silence(waveform, keep_s=0.25), waveform[4_000:-4_000])
    np.testing.assert_array_equal(trim_silence(waveform, keep_s=9.0), waveform)
    np.testing.assert_array_equal(trim_silence(silence), silence)


def peak_hz(waveform: Waveform) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * SAMPLE_RATE_HZ / len(waveform))


def tone(frequency_hz: float, seconds: float = 1.0) -> Waveform:
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.8, 1.25), st.sampled_from([110.0, 220.0, 700.0]))
def test_speed_moves_pitch_and_tempo_does_not(factor: float, pitch_hz: float) -> None:
    faster, shorter = (change(tone(pitch_hz), factor) for change in (change_speed, change_tempo))
    assert len(faster) == pytest.approx(SAMPLE_RATE_HZ / factor, rel=1e-3)
    assert len(shorter) == round(SAMPLE_RATE_HZ / factor)
    assert peak_hz(faster) == pytest.approx(pitch_hz * factor, abs=2)
    assert peak_hz(shorter) == pytest.approx(pitch_hz, abs=2)
    for copy in (faster, shorter):
        assert power(copy) == pytest.approx(power(tone(pitch_hz)), rel=0.05)


def test_tempo_1_is_the_utterance_itself() -> None:
    waveform = noise(20_000)
    np.testing.assert_allclose(change_tempo(waveform, 1.0)[500:-500], waveform[500:-500], atol=1e-6)


def test_a_codec_loses_a_little_and_keeps_length_and_level() -> None:
    waveform = tone(600.0)
    copies = [code(waveform, np.random.default_rng(seed)) for seed in range(12)]
    assert len({copy.tobytes() for copy in copies}) == len(CODECS)
    for copy in copies:
        assert len(copy) == pytest.approx(len(waveform), abs=2)
        assert peak_hz(copy) == pytest.approx(600, abs=2)
        assert power(copy) == pytest.approx(power(waveform), rel=0.3)
        assert not np.allclose(copy[:15_000], waveform[:15_000], atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0.05, 0.4))
def test_masks_silence_time_and_frequency_up_to_their_share(seed: int, share: float) -> None:
    waveform = noise(16_000, seed)
    masked = mask(waveform, share, np.random.default_rng(seed))
    assert (masked == 0).sum() <= 2 * share * len(waveform) + 4
    assert power(masked) <= power(waveform) * 1.0001
    np.testing.assert_allclose(mask(waveform, 0.0, np.random.default_rng(seed)), waveform, atol=1e-6)


def test_a_masked_band_is_gone() -> None:
    waveform = noise(16_000)
    before, after = (np.abs(np.fft.rfft(each)) for each in (waveform, mask(waveform, 0.3, np.random.default_rng(3))))
    assert (after[1:] < 0.4 * before[1:]).mean() > 0.05
    assert (after[1:] > 0.5 * before[1:]).mean() > 0.3
