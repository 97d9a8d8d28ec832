"""The high-pass at the entrance: hum and rumble lie below every voice, and would drown it in every level.

Second-order Butterworth. The recursion runs block by block as small matrix products, so that a frame costs a few
microseconds in numpy, and always in the same frames, so that how the audio arrives makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from edge.arrays import Doubles
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.settings import VadSettings
from edge.vad import FRAME_SAMPLES

BLOCK_SAMPLES = 20
BLOCKS = FRAME_SAMPLES // BLOCK_SAMPLES


class HighPass:
    """Filters a stream frame by frame; it remembers the stream, so frames go in order and ``reset`` marks a new one."""

    def __init__(self, cutoff_hz: float) -> None:
        self._recursion = _recursion(cutoff_hz) if cutoff_hz else None
        self.reset()

    def reset(self) -> None:
        """Forget the stream. What comes next is filtered as if its first sample had always been there."""
        self._state: Doubles | None = None

    def __call__(self, frame: Waveform) -> Waveform:
        """Return the next ``float32[n]`` filtered; n is 480, or less at the end of the stream."""
        recursion = self._recursion
        if recursion is None or not len(frame):
            return np.array(frame, np.float32)
        if self._state is None:
            self._state = recursion.resting * float(frame[0])
        padded = np.zeros(FRAME_SAMPLES)
        padded[: len(frame)] = frame
        blocks = padded.reshape(BLOCKS, BLOCK_SAMPLES)
        states = (recursion.lasting @ np.concatenate([self._state, (blocks @ recursion.added).ravel()])).reshape(-1, 2)
        self._state = states[-1]
        filtered = blocks @ recursion.forced + states[:-1] @ recursion.free
        heard: Waveform = filtered.ravel()[: len(frame)].astype(np.float32)
        return heard


def high_passed(waveform: Waveform, cutoff_hz: float | None = None) -> Waveform:
    """Return ``float32[samples]`` of a whole recording as the segmenter filters it, by default as by default."""
    high_pass = HighPass(VadSettings().high_pass_hz if cutoff_hz is None else cutoff_hz)
    starts = range(0, len(waveform), FRAME_SAMPLES)
    return np.concatenate([waveform[:0], *(high_pass(waveform[start : start + FRAME_SAMPLES]) for start in starts)])


@dataclass(frozen=True)
class _Recursion:
    forced: Doubles
    """From a block's input to its output, ``[block, block]``."""
    free: Doubles
    """From the state before a block to its output, ``[2, block]``."""
    added: Doubles
    """From a block's input to what it adds to the state behind it, ``[block, 2]``."""
    lasting: Doubles
    """From the first state and what each block adds to the states before each block and behind the last."""
    resting: Doubles
    """The state behind a long row of ones, ``[2]``."""


@cache
def _recursion(cutoff_hz: float) -> _Recursion:
    advance, intake, direct = _state_space(cutoff_hz)
    powers = [np.linalg.matrix_power(advance, step) for step in range(FRAME_SAMPLES + 1)]
    response = np.array([direct, *((power @ intake)[0] for power in powers[: BLOCK_SAMPLES - 1])])
    delay = np.subtract.outer(np.arange(BLOCK_SAMPLES), np.arange(BLOCK_SAMPLES))
    age = np.subtract.outer(np.arange(BLOCKS + 1), np.arange(BLOCKS + 1))
    lasting = np.where(age[..., None, None] >= 0, np.stack(powers[::BLOCK_SAMPLES])[age], 0.0)
    return _Recursion(
        forced=np.where(delay >= 0, response[delay], 0.0).T,
        free=np.stack([power[0] for power in powers[:BLOCK_SAMPLES]], axis=1),
        added=np.stack([power @ intake for power in powers[BLOCK_SAMPLES - 1 :: -1]]),
        lasting=lasting.transpose(0, 2, 1, 3).reshape(2 * BLOCKS + 2, 2 * BLOCKS + 2),
        resting=np.asarray(np.linalg.solve(np.eye(2) - advance, intake), np.float64),
    )


def _state_space(cutoff_hz: float) -> tuple[Doubles, Doubles, float]:
    """Return how a state ``float64[2]`` follows from the last and from a sample, and what a sample gives at once.

    The bilinear transform of s² / (s² + √2 s + 1), in transposed direct form II: the output is the first of the state
    plus what the sample gives at once.
    """
    warped = np.tan(np.pi * cutoff_hz / SAMPLE_RATE_HZ)
    scale = 1 / (1 + np.sqrt(2) * warped + warped**2)
    past = np.array([2 * (warped**2 - 1), 1 - np.sqrt(2) * warped + warped**2]) * scale
    advance = np.array([[-past[0], 1.0], [-past[1], 0.0]])
    return advance, np.array([-2.0, 1.0]) * scale - past * scale, float(scale)
