"""An utterance in a source, and the steps by which it comes about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.audio import Waveform

FULL_SCALE = 0.98
"""Samples beyond it count as clipped: a converter's limit, a little below 1 after resampling."""

StepKind = Literal["started", "partial", "provisional", "resumed", "ended"]


@dataclass(frozen=True)
class Segment:
    """One utterance, or a part of one that was longer than the maximum."""

    samples: Waveform
    """``float32[n]``, 16 kHz, high-passed: the voiced part with up to ``pre_roll_s`` before and ``tail_s`` after it."""
    start_s: float
    """Source time of the first voiced sample."""
    end_s: float
    """Source time after the last voiced sample."""
    decided_s: float
    """Source time after the last sample that was needed to know this: of an utterance, that it is over."""
    truncated: bool = False
    """Cut at the maximum length; the next segment continues with the very next sample."""
    dropped_s: float = 0.0
    """Audio lost between the previous segment and this one."""
    clipped: float = 0.0
    """Share of the samples that arrived at or beyond full scale, 0 to 1."""


@dataclass(frozen=True)
class Step:
    """What becomes of an utterance: started, provisional and resumed any number of times, provisional, ended.

    ``started``: there is enough voice for an utterance. ``partial``: what was said so far, every ``partials.every_s``.
    ``provisional``: in a pause, with all that the encoder gets. ``resumed``: they went on, and it was not.
    ``ended``: the pause is over ``end_silence_s``; the segment has the samples of the last provisional one.
    """

    kind: StepKind
    segment: Segment
    """Without samples where the step is ``started`` or ``resumed``."""
