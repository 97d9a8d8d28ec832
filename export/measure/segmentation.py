"""How wrong a voice activity detector is: against a truth taken from the clean recording, on a grid of 10 ms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.settings import SegmenterSettings
from edge.vad import FRAME_SAMPLES

STEP_S = 0.01
STEP_SAMPLES = round(STEP_S * SAMPLE_RATE_HZ)
VOICED_BELOW_PEAK_DB = 30.0
"""A 30 ms frame is voice when it is at most this much quieter than the loudest frame of its clip."""
LEAST_OVERLAP = 0.5
"""Of the union: an utterance with less is not the turn."""

SPEECH, SILENCE, UNSCORED = 1, 0, -1
Steps = npt.NDArray[np.int8]
Span = tuple[float, float]
"""Start and end in seconds."""


@dataclass(frozen=True)
class FrameError:
    """Shares of the steps that are scored."""

    missed: float
    """Of the speech, what was not found."""
    false: float
    """Of the silence, what was taken for speech."""

    @property
    def balanced(self) -> float:
        """The mean of both, which no choice between them improves by itself."""
        return (self.missed + self.false) / 2


@dataclass(frozen=True)
class TurnError:
    """How the utterances match the turns."""

    turns: int
    found: int
    """Turns that one utterance matches."""
    surplus: int
    """Utterances that match no turn."""
    bounds_s: tuple[float, ...]
    """How far the starts and ends of matched utterances are off."""


def true_steps(clean: Waveform, turns: Sequence[Span]) -> Steps:
    """Return ``int8[steps]``: speech, silence, or what is neither and not scored.

    Speech is within 30 dB of its turn's loudest 30 ms, silence is outside of all turns; what is quieter inside a turn
    may be either.
    """
    steps: Steps = np.full(len(clean) // STEP_SAMPLES, SILENCE, np.int8)
    levels_db = _levels_db(clean, len(steps))
    for start_s, end_s in turns:
        turn = slice(round(start_s / STEP_S), round(end_s / STEP_S))
        loud = levels_db[turn] >= levels_db[turn].max() - VOICED_BELOW_PEAK_DB
        steps[turn] = np.where(loud, SPEECH, UNSCORED)
    return steps


def on_steps(voiced: npt.NDArray[np.bool_], frame_samples: int, count: int) -> npt.NDArray[np.bool_]:
    """Return ``bool[count]``: a detector's decision at the centre of each step; none after its last frame."""
    frames = (np.arange(count) * STEP_SAMPLES + STEP_SAMPLES // 2) // frame_samples
    return np.append(voiced, False)[np.minimum(frames, len(voiced))]


def frame_error(voiced: npt.NDArray[np.bool_], truth: Steps) -> FrameError:
    """Compare ``bool[steps]`` with the truth; a share of nothing is zero."""
    speech, silence = voiced[truth == SPEECH], voiced[truth == SILENCE]
    return FrameError(
        missed=float((~speech).mean()) if len(speech) else 0.0,
        false=float(silence.mean()) if len(silence) else 0.0,
    )


def utterances(voiced: npt.NDArray[np.bool_], settings: SegmenterSettings) -> list[Span]:
    """Join what short pauses part, and drop what holds too little voice: the product's rule, for any detector."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.astype(np.int8), [0]])))
    joined: list[tuple[int, int, int]] = []
    for start, end in edges.reshape(-1, 2).tolist():
        if joined and (start - joined[-1][1]) * STEP_S < settings.first_end_silence_s:
            first, _, held = joined.pop()
            joined.append((first, end, held + end - start))
        else:
            joined.append((start, end, end - start))
    return [(start * STEP_S, end * STEP_S) for start, end, held in joined if held * STEP_S >= settings.min_speech_s]


def turn_error(spans: Sequence[Span], turns: Sequence[Span]) -> TurnError:
    """Match utterances to turns, each at most once."""
    bounds_s: list[float] = []
    for turn in turns:
        match = max(spans, key=lambda span: _overlap(span, turn), default=turn)
        if spans and _overlap(match, turn) >= LEAST_OVERLAP:
            bounds_s += [abs(match[0] - turn[0]), abs(match[1] - turn[1])]
    found = len(bounds_s) // 2
    return TurnError(len(turns), found, len(spans) - found, tuple(bounds_s))


def _overlap(one: Span, other: Span) -> float:
    """Return the share of the union that two spans have in common."""
    common = min(one[1], other[1]) - max(one[0], other[0])
    return max(0.0, common) / (max(one[1], other[1]) - min(one[0], other[0]))


def _levels_db(clean: Waveform, count: int) -> npt.NDArray[np.float64]:
    """Return the level of the 30 ms around the centre of each step."""
    margin = (FRAME_SAMPLES - STEP_SAMPLES) // 2
    padded = np.pad(clean.astype(np.float64), (margin, FRAME_SAMPLES))
    sums = np.cumsum(np.append(0.0, padded**2))
    starts = np.arange(count) * STEP_SAMPLES
    power = (sums[starts + FRAME_SAMPLES] - sums[starts]) / FRAME_SAMPLES
    return np.asarray(10 * np.log10(np.maximum(power, 1e-12)))
