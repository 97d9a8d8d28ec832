"""Figures of a transfer: UA of every way of training on source and target, and of one over another, with intervals.

All ways of training are compared on the same draws of speakers, so that a gain of one over another is of the same
people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from calibrate.bootstrap import LEVEL, UNKNOWN, drawn_counts
from calibrate.dataset import Part
from calibrate.report import deviation
from edge.arrays import Doubles, percentile_interval

Training = Literal["zero-shot", "target only", "fine-tuned", "joint"]
GAINS: tuple[tuple[Training, Training], ...] = (
    ("target only", "zero-shot"),
    ("fine-tuned", "zero-shot"),
    ("joint", "zero-shot"),
    ("joint", "target only"),
    ("joint", "fine-tuned"),
)
DRAWS = 5_000

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """The test speakers of one side."""

    corpus: str
    speakers: list[str]
    asked: Counts
    """``int64[speakers, labels]``, utterances."""

    @classmethod
    def of(cls, parts: Sequence[Part], labels: int) -> Side:
        """Count the utterances of the test parts."""
        speakers = sorted({speaker for part in parts for speaker in part.speakers.tolist()})
        side = cls(str(parts[0].corpora[0]), speakers, np.zeros((len(speakers), labels), np.int64))
        for part in parts:
            side.asked[...] += side.count(part, np.ones(len(part.labels), bool))
        return side

    def count(self, part: Part, which: npt.NDArray[np.bool_]) -> Counts:
        """Return ``int64[speakers, labels]``, the utterances of a part for which ``which`` is true."""
        counted = np.zeros_like(self.asked)
        np.add.at(counted, (np.searchsorted(self.speakers, part.speakers[which]), part.labels[which]), 1)
        return counted

    def ua(self, right: Counts, weights: Doubles) -> Doubles:
        """Return UA ``float64[draws, seeds]``.

        Args:
            right: ``int64[seeds, speakers, labels]``, right answers.
            weights: ``float64[draws, speakers]``, how often each speaker counts.
        """
        asked = weights @ self.asked
        recall = np.full((len(weights), len(right), asked.shape[1]), np.nan)
        hits = np.tensordot(weights, right, axes=(1, 1))
        np.divide(hits, asked[:, None], out=recall, where=asked[:, None] > 0)
        return np.asarray(np.nanmean(recall, axis=2))


@dataclass(frozen=True)
class Outcome:
    """What one way of training came to."""

    training: Training
    speakers: float
    """Of the target, trained on; the mean where folds differ."""
    right: Sequence[Counts]
    """Right answers on source and target, ``int64[seeds, speakers, labels]`` each."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval over test speakers, not a number where there is one speaker."""

    value: float
    deviation: float
    """Over seeds; 0 for one."""
    low: float
    high: float


@dataclass(frozen=True)
class Transfer:
    """All ways of training, tested on both sides."""

    source: Side
    target: Side
    labels: Sequence[str]
    outcomes: list[Outcome]
    """The first of them zero-shot."""
    described: str

    @property
    def sides(self) -> dict[str, Side]:
        """Source and target by name, in the order of ``Outcome.right``."""
        return {"source": self.source, "target": self.target}

    def ua(self, outcome: Outcome, side: int, over: Outcome | None = None) -> Estimate:
        """Return UA on the source (0) or the target (1), or what it gains over another way of training."""
        tested = (self.source, self.target)[side]
        count = len(tested.speakers)
        weights = np.concatenate([np.ones((1, count)), drawn_counts(count, DRAWS)])
        ua = tested.ua(outcome.right[side], weights)
        if over is not None:
            ua = ua - tested.ua(over.right[side], weights)
        bounds = percentile_interval(ua[1:].mean(axis=1), LEVEL) if count > 1 else UNKNOWN
        return Estimate(float(ua[0].mean()), deviation(ua[0]), *bounds)

    def gains(self) -> list[tuple[str, float, Estimate]]:
        """Return what is gained on the target: over what, by how many speakers, and how much."""
        found = []
        for better, other in GAINS:
            for row in self.outcomes:
                for over in self.outcomes:
                    pair = (row.training, over.training) == (better, other)
                    if pair and over.speakers in (0, row.speakers):
                        found.append((f"{better} over {other}", row.speakers, self.ua(row, 1, over)))
        return found

    @property
    def chance(self) -> float:
        """UA of guessing."""
        return 1 / len(self.labels)
