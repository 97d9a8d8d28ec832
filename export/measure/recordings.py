"""Recordings whose turns are known: the example conversation and clips joined in one room, with noise over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.vad import FRAME_SAMPLES, level
from export.example_conversation import CONVERSATION, spans_s
from export.measure.segmentation import STEP_SAMPLES, VOICED_BELOW_PEAK_DB, Span

SPEECH_RMS = 10 ** (-26 / 20)
"""Level of the voice in joined clips: corpora differ, and a signal-to-noise ratio should mean the same in each."""
PAUSES_S = (0.6, 1.6)
BABBLE_VOICES = 6
ROOM_DBFS, ROOM_SEED = -70.0, 0
MARGIN_S = 0.2
"""Of each clip this much is kept around its voice, faded in and out."""


@dataclass(frozen=True)
class Recording:
    """Speech and who speaks when."""

    samples: Waveform
    turns: tuple[Span, ...]

    def mixed(self, noise: Waveform, snr_db: float) -> Waveform:
        """Return ``float32[samples]`` with noise this much below the power of the turns."""
        times_s = np.arange(len(self.samples)) / SAMPLE_RATE_HZ
        spoken = np.zeros(len(times_s), np.bool_)
        for start_s, end_s in self.turns:
            spoken |= (times_s >= start_s) & (times_s < end_s)
        power = np.mean(np.square(self.samples[spoken], dtype=np.float64)) * 10 ** (-snr_db / 10)
        gain = np.sqrt(power / np.mean(np.square(noise, dtype=np.float64)))
        return np.asarray(self.samples + gain * noise, np.float32)


def example(path: Path = CONVERSATION) -> Recording:
    """Read the example conversation, at the level it was recorded at."""
    return Recording(read_audio(path), tuple(spans_s(path)))


def join(clips: Sequence[Waveform], seed: int = 0) -> Recording:
    """Join clips, each at the same level, with pauses of random length over the tone of a quiet room."""
    pauses = np.random.default_rng(seed).uniform(*PAUSES_S, len(clips) + 1) * SAMPLE_RATE_HZ
    margin = round(MARGIN_S * SAMPLE_RATE_HZ)
    fade = np.linspace(0, 1, margin, dtype=np.float32)
    voices = [_voice(clip, margin) for clip in clips]
    joined = room_tone(int(pauses.sum()) + sum(len(voice) - 2 * margin for voice in voices) + margin)
    turns, now = [], 0
    for voice, pause in zip(voices, pauses.astype(int).tolist(), strict=False):
        now += pause
        end = now + len(voice) - 2 * margin
        voice[:margin] *= fade
        voice[-margin:] *= fade[::-1]
        joined[now - margin : end + margin] += voice
        turns.append((now / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ))
        now = end
    return Recording(joined, tuple(turns))


def white(samples: int) -> Waveform:
    """Return ``float32[samples]`` of noise with the same power at every frequency."""
    return np.random.default_rng(1).standard_normal(samples).astype(np.float32)


def pink(samples: int) -> Waveform:
    """Return ``float32[samples]`` of noise whose power falls by 3 dB an octave."""
    return room_tone(samples)


def babble(clips: Sequence[Waveform], samples: int) -> Waveform:
    """Return ``float32[samples]`` of several voices at once that never pause; each clip is one voice's, in turn."""
    voices = []
    for voice in range(BABBLE_VOICES):
        spoken = [_voice(clip, 0) for clip in clips[voice::BABBLE_VOICES]]
        voices.append(np.resize(np.concatenate(spoken), samples))
    return np.asarray(np.sum(voices, axis=0), np.float32)


def _voice(clip: Waveform, margin: int) -> Waveform:
    """Return the clip from its first to its last voice and ``margin`` samples around, at the common level."""
    start, end = voiced_span(clip)
    gain = SPEECH_RMS / max(float(np.sqrt(np.mean(np.square(clip[start:end], dtype=np.float64)))), 1e-6)
    return np.asarray(gain * np.pad(clip, margin)[start : end + 2 * margin], np.float32)


def voiced_span(clip: Waveform) -> tuple[int, int]:
    """Return the samples from the first to the last voiced frame of ``float32[n]``."""
    starts = range(0, len(clip) - FRAME_SAMPLES + 1, STEP_SAMPLES)
    levels_dbfs = np.array([level(clip[start : start + FRAME_SAMPLES]) for start in starts])
    voiced = np.flatnonzero(levels_dbfs >= levels_dbfs.max() - VOICED_BELOW_PEAK_DB)
    return int(voiced[0]) * STEP_SAMPLES, int(voiced[-1]) * STEP_SAMPLES + FRAME_SAMPLES


def room_tone(samples: int) -> Waveform:
    """Return ``float32[samples]`` of pink noise: a quiet room, the same every time."""
    spectrum = np.fft.rfft(np.random.default_rng(ROOM_SEED).standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    noise = np.fft.irfft(spectrum, samples)
    tone: Waveform = (10 ** (ROOM_DBFS / 20) * noise / noise.std()).astype(np.float32)
    return tone
