"""Augmentation of training audio, so that level, microphone, room and leading silence matter less."""

from __future__ import annotations

import numpy as np

from calibrate.recipe import AugmentationRecipe
from calibrate.training.perturb import as_waveform, change_speed, change_tempo, code, mask, quick_size
from edge.audio import SAMPLE_RATE_HZ, Waveform

FRAME = SAMPLE_RATE_HZ // 50
CROP_S = (1.2, 4.0)
"""Length of a crop, as of commands and short turns."""


def augment(waveform: Waveform, settings: AugmentationRecipe, rng: np.random.Generator) -> Waveform:
    """Return a changed copy of ``float32[samples]``; never empty, and longer only by speed or tempo.

    Each step is drawn on its own. A step that is off draws nothing, so that the others stay as they were without it.
    """
    if settings.crop_probability and rng.random() < settings.crop_probability:
        waveform = crop(waveform, rng.uniform(*CROP_S), rng)
    if rng.random() < settings.trim_probability:
        waveform = trim_silence(waveform, keep_s=rng.uniform(0.0, 0.3))
    if settings.speed:
        waveform = change_speed(waveform, rng.uniform(1 - settings.speed, 1 + settings.speed))
    if settings.tempo:
        waveform = change_tempo(waveform, rng.uniform(1 - settings.tempo, 1 + settings.tempo))
    if rng.random() < settings.room_probability:
        waveform = add_room(waveform, rng.uniform(*settings.decay_s), rng)
    if rng.random() < settings.noise_probability:
        waveform = add_noise(waveform, rng.uniform(*settings.snr_db), rng.uniform(0.0, 1.0), rng)
    if rng.random() < settings.telephone_probability:
        waveform = telephone(waveform)
    if settings.codec_probability and rng.random() < settings.codec_probability:
        waveform = code(waveform, rng)
    if settings.mask:
        waveform = mask(waveform, settings.mask, rng)
    gain = 10 ** (rng.uniform(*settings.gain_db) / 20)
    return as_waveform(np.clip(waveform * gain, -1, 1))


def crop(waveform: Waveform, length_s: float, rng: np.random.Generator) -> Waveform:
    """Return a random piece of ``length_s``, or all of what is shorter."""
    samples = max(1, round(length_s * SAMPLE_RATE_HZ))
    start = int(rng.integers(max(1, len(waveform) - samples + 1)))
    return waveform[start : start + samples]


def trim_silence(waveform: Waveform, keep_s: float = 0.25, below_peak_db: float = 35.0) -> Waveform:
    """Cut the lead and tail whose 20 ms frames stay this far below the loudest one, keeping ``keep_s`` of each."""
    frames = len(waveform) // FRAME
    if frames < 2:
        return waveform
    energy = np.square(waveform[: frames * FRAME].reshape(frames, FRAME)).mean(axis=1)
    loud = np.flatnonzero(energy > energy.max() * 10 ** (-below_peak_db / 10))
    if not len(loud):
        return waveform
    keep = round(keep_s * SAMPLE_RATE_HZ)
    return waveform[max(0, loud[0] * FRAME - keep) : (loud[-1] + 1) * FRAME + keep]


def add_noise(waveform: Waveform, snr_db: float, tilt: float, rng: np.random.Generator) -> Waveform:
    """Add coloured noise: power falls as frequency to the ``2 * tilt`` (0 white, 0.5 pink, 1 brown)."""
    size = quick_size(len(waveform))
    spectrum = np.fft.rfft(rng.standard_normal(size))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** tilt
    noise = np.fft.irfft(spectrum, size)[: len(waveform)]
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    noise *= np.sqrt(power * 10 ** (-snr_db / 10) / max(float(np.mean(noise**2)), 1e-20))
    return as_waveform(waveform + noise)


def add_room(waveform: Waveform, decay_s: float, rng: np.random.Generator) -> Waveform:
    """Convolve with a direct path and exponentially decaying noise (Polack's room model), keeping the level."""
    time_s = np.arange(round(decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    response = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s)
    response *= rng.uniform(0.2, 0.8) / max(float(np.linalg.norm(response)), 1e-9)
    response[0] = 1.0
    size = quick_size(len(waveform) + len(response))
    wet = np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(response, size), size)[: len(waveform)]
    level = np.linalg.norm(waveform) / max(float(np.linalg.norm(wet)), 1e-9)
    return as_waveform(wet * level)


def telephone(waveform: Waveform) -> Waveform:
    """Limit the band to 300 to 3,400 Hz as a narrow-band telephone line does."""
    size = quick_size(len(waveform))
    spectrum = np.fft.rfft(waveform, size)
    frequency_hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    spectrum[(frequency_hz < 300) | (frequency_hz > 3_400)] = 0
    return as_waveform(np.fft.irfft(spectrum, size)[: len(waveform)])
