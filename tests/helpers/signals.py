"""Signals for tests that need no recordings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge.audio import SAMPLE_RATE_HZ, Waveform


def speech_like(duration_s: float, seed: int = 0) -> Waveform:
    """Return ``float32[samples]`` (16 kHz, about -20 dBFS) that voice activity detection takes for speech throughout.

    A gliding harmonic tone through moving formants, in four syllables a second; a seed is a speaker.
    """
    random = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pitch_hz = random.uniform(100, 220) * (1 + 0.08 * np.sin(2 * np.pi * random.uniform(0.3, 0.6) * time_s))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    formants_hz = [
        centre_hz * (1 + 0.2 * np.sin(2 * np.pi * rate_hz * time_s + random.uniform(0, 6)))
        for centre_hz, rate_hz in ((600, 2.1), (1500, 1.7), (2600, 1.3))
    ]
    voice = np.zeros(len(time_s))
    for harmonic in range(1, 30):
        gain = sum(np.exp(-(((harmonic * pitch_hz - formant_hz) / 250) ** 2)) for formant_hz in formants_hz)
        voice += (gain + 0.05) * np.sin(harmonic * phase) / harmonic**0.5
    voice += 0.02 * random.standard_normal(len(time_s))
    voice *= np.maximum(0.03, np.abs(np.sin(2 * np.pi * 2 * time_s))) ** 0.7
    return (0.1 * voice / max(voice.std(), 1e-9)).astype(np.float32)


def deep(voice: Waveform) -> Waveform:
    """Return the same words, as loud, from someone with less treble."""
    return _as_loud(np.convolve(voice, np.ones(6) / 6, "same"), voice)


def bright(voice: Waveform) -> Waveform:
    """Return the same words, as loud, from someone with more treble."""
    return _as_loud(np.diff(voice, prepend=0), voice)


def silence(duration_s: float, level_dbfs: float = -80.0, seed: int = 0) -> Waveform:
    """Return ``float32[samples]`` (16 kHz) of white noise: a quiet room by default."""
    noise = np.random.default_rng(seed).standard_normal(round(duration_s * SAMPLE_RATE_HZ))
    return (10 ** (level_dbfs / 20) * noise).astype(np.float32)


def tone_at(frequency_hz: float, duration_s: float) -> Waveform:
    """Return ``float32[samples]`` (16 kHz) of a sine with an amplitude of 0.1."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.1 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def _as_loud(voice: npt.NDArray[np.floating[Any]], original: Waveform) -> Waveform:
    return (voice * original.std() / voice.std()).astype(np.float32)
