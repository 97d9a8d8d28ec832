"""Continuous values of a person, such as arousal, brought to the mean and deviation that are expected of them.

Personalised label distribution calibration (PLDC; Tran, Yin & Soleymani 2023, "Personalized Adaptation with Pre-trained
Speech Encoders for Continuous Emotion Recognition"): what a model predicts for one person is shifted and scaled, so
that its mean and deviation become those of the annotations of the training speakers who sound most like them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge.arrays import Matrix
from edge.population import Population
from edge.similar import SIMILAR_SPEAKERS, cosines, similar_speakers
from edge.values import Readout

ShiftMode = Literal["full", "mu", "sigma"]
Pooling = Literal["averaged", "pooled"]
LEAST_DEVIATION = 1e-3
"""Of predictions, below which they are not scaled by it."""


@dataclass(frozen=True)
class ValueStatistics:
    """How continuous values lie."""

    mean: Matrix
    """``float32[values]``."""
    deviation: Matrix
    """``float32[values]``."""
    clips: int
    """That they were computed from."""

    @classmethod
    def of(cls, values: Matrix) -> ValueStatistics:
        """Return those of ``float32[clips, values]``; zeros of no clips."""
        if not len(values):
            zeros = np.zeros(values.shape[1], np.float32)
            return cls(zeros, zeros, 0)
        return cls(values.mean(axis=0, dtype=np.float32), values.std(axis=0, dtype=np.float32), len(values))


@dataclass(frozen=True)
class ValueShift:
    """How values are shifted; the defaults are the paper's, but for clamping."""

    mode: ShiftMode = "full"
    """``full``: ``(y - mean) / deviation · expected deviation + expected mean``; ``mu``: the mean alone is moved;
    ``sigma``: values are scaled around their own mean."""
    pooling: Pooling = "averaged"
    """Means and deviations of the similar speakers are averaged (the paper), or are those of all their annotations
    together (the authors' code), every speaker weighing the same."""
    speakers: int = SIMILAR_SPEAKERS
    """Training speakers who are most similar (k)."""
    least_likeness: float = -1.0
    """Cosine that the most similar speakers must reach in the mean, or nothing is shifted."""
    least_clips: int = 2
    """Clips of the person below which nothing is shifted."""
    shrinkage: float = 0.0
    """Clips after which the shift is believed half: it goes ``clips / (clips + shrinkage)`` of the way."""

    def expected(
        self, means: Matrix, deviations: Matrix, offsets: Matrix, offset: Matrix
    ) -> tuple[ValueStatistics, float]:
        """Return what is expected of someone, and the mean cosine of the speakers who stand in for them.

        Args:
            means: of the training speakers' annotations, ``float32[speakers, values]``.
            deviations: of the same, ``float32[speakers, values]``.
            offsets: of the same speakers, ``float32[speakers, dim]``.
            offset: of the person, ``float32[dim]``.
        """
        similar = similar_speakers(offsets, offset, self.speakers)
        mean = means[similar].mean(axis=0)
        if self.pooling == "averaged":
            deviation = deviations[similar].mean(axis=0)
        else:
            squares = np.square(deviations[similar]) + np.square(means[similar])
            deviation = np.sqrt(np.maximum(squares.mean(axis=0) - np.square(mean), 0))
        likeness = float(cosines(offsets, offset)[similar].mean())
        return ValueStatistics(mean, deviation, len(similar)), likeness

    def apply(
        self,
        values: Matrix,
        own: ValueStatistics,
        expected: ValueStatistics,
        likeness: float = 1.0,
        bounds: tuple[Matrix, Matrix] | None = None,
    ) -> Matrix:
        """Return shifted values ``float32[n, values]``; the same where too few clips or no similar speakers are known.

        Args:
            values: predicted for the person, ``float32[n, values]``.
            own: statistics of what is predicted for them: of enrolment clips, or of these very values (transductive).
            expected: see ``expected``.
            likeness: mean cosine of the speakers who stand in.
            bounds: lowest and highest, ``float32[values]`` each, that shifted values are clamped to; None: none.
        """
        if own.clips < self.least_clips or likeness < self.least_likeness:
            return values
        around = values - own.mean
        scale = np.where(own.deviation < LEAST_DEVIATION, 1, expected.deviation / np.maximum(own.deviation, 1e-9))
        shifted = {
            "full": around * scale + expected.mean,
            "mu": around + expected.mean,
            "sigma": around * scale + own.mean,
        }[self.mode]
        share = own.clips / (own.clips + self.shrinkage)
        moved = values + np.float32(share) * (shifted - values)
        return np.asarray(moved if bounds is None else np.clip(moved, *bounds), np.float32)


@dataclass(frozen=True)
class PersonalShift:
    """A shift, and all that it needs to know of one person."""

    shift: ValueShift
    own: ValueStatistics
    expected: ValueStatistics
    likeness: float
    bounds: tuple[Matrix, Matrix]

    @classmethod
    def of(
        cls, shift: ValueShift, population: Population, readout: Readout, own: ValueStatistics, offset: Matrix
    ) -> PersonalShift | None:
        """Return the shift of someone with that offset, ``float32[dim]``; None where the population has no values.

        Args:
            shift: what is done.
            population: whose speakers stand in for the person.
            readout: of the values, which are clamped to its ranges.
            own: statistics of what is estimated for the person.
            offset: of the person, without that of a room where it is known.
        """
        if population.value_means is None or population.value_deviations is None:
            return None
        expected, likeness = shift.expected(
            population.value_means, population.value_deviations, population.offsets, offset
        )
        return cls(shift, own, expected, likeness, readout.bounds)

    def apply(self, values: Matrix) -> Matrix:
        """Return shifted values ``float32[n, values]``."""
        return self.shift.apply(values, self.own, self.expected, self.likeness, self.bounds)
