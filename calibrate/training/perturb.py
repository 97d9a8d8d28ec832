"""Perturbations: new voices, channels and gaps; each takes ``float32[samples]`` of an utterance and gives a copy."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from edge.audio import SAMPLE_RATE_HZ, Waveform, resample

WINDOW, HOP, TOLERANCE = (SAMPLE_RATE_HZ * ms // 1_000 for ms in (30, 15, 10))
CODECS = (("WAV", "ULAW", 8_000), ("WAV", "GSM610", 8_000), ("OGG", "OPUS", 8_000), ("OGG", "OPUS", 16_000))
"""Container, coding and sample rate: 64, 13, 7 and 7 kbit/s."""
SHORTEST = SAMPLE_RATE_HZ // 50
BLOCK = 4_096
MASKS = 2
"""Time masks, and as many frequency masks (SpecAugment's LibriSpeech double policy)."""


def quick_size(samples: int) -> int:
    """Return a size not below ``samples`` whose Fourier transform is quick; a large prime takes ten times as long."""
    return -(-samples // BLOCK) * BLOCK


def change_speed(waveform: Waveform, factor: float) -> Waveform:
    """Play faster: pitch and formants rise with it, as if someone else spoke (Ko et al. 2015)."""
    return resample(waveform, round(SAMPLE_RATE_HZ * factor)) if len(waveform) >= SHORTEST else waveform


def change_tempo(waveform: Waveform, factor: float) -> Waveform:
    """Speak faster at the same pitch: overlap-add of windows that match (WSOLA, Verhelst & Roelands 1993)."""
    if len(waveform) < 2 * WINDOW:
        return waveform
    frames = int(len(waveform) / factor) // HOP + 2
    lead = HOP + TOLERANCE
    padded = np.pad(waveform, (lead, 2 * WINDOW + TOLERANCE))
    slope = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    stretched = np.zeros(frames * HOP + WINDOW)
    place = TOLERANCE
    for frame in range(frames):
        if frame:
            earliest = min(round(frame * HOP * factor), len(padded) - WINDOW - 2 * TOLERANCE)
            continued = padded[place + HOP : place + HOP + WINDOW]
            likeness = np.correlate(padded[earliest : earliest + WINDOW + 2 * TOLERANCE], continued, "valid")
            place = min(earliest + int(likeness.argmax()), len(padded) - WINDOW - HOP)
        stretched[frame * HOP : frame * HOP + WINDOW] += slope * padded[place : place + WINDOW]
    return as_waveform(stretched[HOP : HOP + round(len(waveform) / factor)])


def code(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """Send through one of ``CODECS``: a telephone's µ-law, GSM full rate, or Opus at its lowest rate."""
    if len(waveform) < SHORTEST:
        return waveform
    container, coding, rate_hz = CODECS[rng.integers(len(CODECS))]
    coded = io.BytesIO()
    level = 1.0 if coding == "OPUS" else None
    narrow = soxr.resample(waveform, SAMPLE_RATE_HZ, rate_hz)
    soundfile.write(coded, np.clip(narrow, -1, 1), rate_hz, coding, format=container, compression_level=level)
    coded.seek(0)
    decoded, _ = soundfile.read(coded, dtype="float32")
    return resample(decoded, rate_hz)[: len(waveform)]


def mask(waveform: Waveform, share: float, rng: np.random.Generator) -> Waveform:
    """Silence stretches of time and bands of the mel scale, each up to ``share`` of the whole.

    SpecAugment (Park et al. 2019) on the waveform, as in SpeechBrain, so that it fits encoders with and without a
    spectrogram.
    """
    size = quick_size(len(waveform))
    spectrum = np.fft.rfft(waveform, size)
    mel = 2_595 * np.log10(1 + np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ) / 700)
    for low, high in _stretches(mel[-1], share, rng):
        spectrum[(low <= mel) & (mel < high)] = 0
    masked = np.fft.irfft(spectrum, size)[: len(waveform)]
    for start, end in _stretches(len(waveform), share, rng):
        masked[round(start) : round(end)] = 0
    return as_waveform(masked)


def _stretches(whole: float, share: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    widths = rng.uniform(0, share * whole, MASKS)
    return [(start, start + width) for start, width in zip(rng.uniform(0, whole - widths), widths, strict=True)]


def as_waveform(samples: npt.NDArray[np.floating]) -> Waveform:
    """Return samples as ``float32[samples]``."""
    return samples.astype(np.float32, copy=False)
