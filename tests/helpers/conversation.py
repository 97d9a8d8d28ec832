"""A conversation whose turns and emotions (to the tiny bundle) are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from edge.audio import SAMPLE_RATE_HZ, Waveform
from helpers.signals import silence, speech_like

TURN_S, PAUSE_S = 1.2, 1.0
LEVELS = {"neutral": 0.1, "happy": 1.0, "angry": 3.0}


@dataclass(frozen=True)
class Conversation:
    """A recording of three utterances."""

    path: Path
    samples: Waveform
    turns_s: tuple[tuple[float, float], ...]
    emotions: tuple[str, ...]


def record(folder: Path) -> Conversation:
    """Write ``conversation.wav``: a quiet, a medium and a loud turn."""
    parts, turns_s, now_s = [silence(0.5)], [], 0.5
    for seed, level in enumerate(LEVELS.values()):
        parts += [level * speech_like(TURN_S, seed), silence(PAUSE_S, seed=seed)]
        turns_s.append((now_s, now_s + TURN_S))
        now_s += TURN_S + PAUSE_S
    samples = np.concatenate(parts)
    path = folder / "conversation.wav"
    soundfile.write(path, samples, SAMPLE_RATE_HZ, "FLOAT")
    return Conversation(path, samples, tuple(turns_s), tuple(LEVELS))
