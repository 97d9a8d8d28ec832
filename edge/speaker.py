"""Who speaks: voiceprints compared with those of enrolled people, as probabilities that carry over a conversation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge.arrays import Doubles, Integers, Matrix, unit

SHORTEST_S = 0.5
MOST_PRINTS = 16
"""More prints of a person raise no further confidence."""
NEAREST = 20
"""Voices of a cohort that count."""
FEATURES = 6
"""Columns of ``features``."""


@dataclass(frozen=True)
class VoiceCalibration:
    """From cosines to evidence: logistic regression that knows the duration and the number of prints.

    The quality measures follow Mandasari et al. 2013. With a cohort the score is how far a person's cosine exceeds
    those of the most similar voices (adaptive symmetric normalisation, Matejka et al. 2017, of the mean alone: dividing
    by the deviation was measured and is worse), so that its scale does not depend on room and language.
    """

    weights: Doubles
    """``float64[6]``, one for each column of ``features``."""
    cohort: Matrix | None = None
    """``float32[voices, dim]`` of unit length, a print for each of many people; None: plain cosines."""

    def log_ratios(self, enrolled: Matrix, prints: Matrix, durations_s: Doubles) -> Doubles:
        """Return log p(print | this person) / p(print | someone else) as ``float64[n]``.

        Args:
            enrolled: ``float32[prints, dim]`` of one person.
            prints: ``float32[n, dim]`` to compare.
            durations_s: their speech, ``float64[n]``.
        """
        ratios: Doubles = features(enrolled, prints, durations_s, self.cohort) @ self.weights
        return ratios


def features(enrolled: Matrix, prints: Matrix, durations_s: Doubles, cohort: Matrix | None = None) -> Doubles:
    """Return ``float64[n, 6]``: what the regression sees of trials of one person against prints.

    The score is the cosine with the person's mean print and, half as much, with the nearest one; less what the cohort
    gives, if there is one.
    """
    cosines = (prints @ enrolled.T).astype(np.float64)
    centre = cosines.mean(axis=1) / _mean_length(enrolled)
    expected = np.zeros(1)
    if cohort is not None:
        expected = (likeness(unit(enrolled.mean(axis=0))[None], cohort) + likeness(prints, cohort)) / 2
    return _columns(centre - expected, cosines.max(axis=1) - expected, durations_s, np.full(len(prints), len(enrolled)))


def likeness(prints: Matrix, cohort: Matrix) -> Doubles:
    """Return the mean cosine of prints ``float32[n, dim]`` with the most similar voices of a cohort, ``float64[n]``."""
    count = min(NEAREST, len(cohort))
    cosines = np.partition(prints @ cohort.T, -count, axis=1)[:, -count:]
    return np.asarray(cosines.mean(axis=1), np.float64)


def _mean_length(prints: Matrix) -> float:
    return max(float(np.linalg.norm(prints.mean(axis=0))), 1e-9)


def _columns(centre: Doubles, nearest: Doubles, durations_s: Doubles, counts: Integers) -> Doubles:
    score = (centre + 0.5 * nearest) / 1.5
    duration = np.log(np.maximum(durations_s, SHORTEST_S) / 2.0)
    count = np.log(np.minimum(counts, MOST_PRINTS) / 4.0)
    return np.stack([np.ones_like(duration), score, duration, count, score * duration, score * count], axis=1)


@dataclass(frozen=True)
class Identification:
    """Who an utterance is from, in probabilities."""

    posterior: dict[str, float]
    """Enrolled person to probability; with ``stranger`` it sums to one."""
    stranger: float
    threshold: float
    """What a probability must reach to count."""

    @property
    def name(self) -> str | None:
        """The person, or None for a stranger and when it is uncertain."""
        best = max(self.posterior, key=lambda name: self.posterior[name], default=None)
        return best if best is not None and self.posterior[best] >= self.threshold else None

    @property
    def uncertain(self) -> bool:
        """Neither a person nor ``stranger`` is probable enough."""
        return self.name is None and self.stranger < self.threshold


class Identifier:
    """Forward filter over {each enrolled person, a stranger} (a hidden Markov model; Rabiner 1989, section III.A).

    Between utterances the voice stays the same with probability ``stay``, which fades with the pause; otherwise any
    voice may follow. An utterance's evidence is its likelihood ratios, so a stranger's is one.
    """

    def __init__(
        self,
        calibration: VoiceCalibration,
        people: Mapping[str, Matrix],
        stranger: float = 0.2,
        stay: float = 0.5,
        forget_s: float = 120.0,
        threshold: float = 0.85,
    ) -> None:
        """Prepare for a conversation.

        Args:
            calibration: of the bundle.
            people: name to one or more voiceprints ``float32[n, dim]``, all from the bundle's speaker encoder.
            stranger: probability that a new voice is nobody's of these; 0 when a source is bound to them.
            stay: probability that the voice of the last utterance goes on, without a pause.
            forget_s: pause after which that has fallen to a third.
            threshold: see ``Identification``.
        """
        self.calibration = calibration
        self.names = list(people)
        prints = [unit(prints) for prints in people.values()]
        self._prints = np.concatenate(prints) if prints else np.zeros((0, 0), np.float32)
        self._counts = np.array([len(mine) for mine in prints], np.int64)
        self._starts = self._counts.cumsum() - self._counts
        self._norms = np.array([_mean_length(mine) for mine in prints])
        cohort = calibration.cohort
        centres = [unit(mine.mean(axis=0)) for mine in prints]
        self._likeness = (
            likeness(np.stack(centres), cohort) if centres and cohort is not None else np.zeros(len(prints))
        )
        self.stay, self.forget_s, self.threshold = stay, forget_s, threshold
        stranger = stranger if people else 1.0
        self._fresh = np.array([(1 - stranger) / max(1, len(people))] * len(people) + [stranger])
        self._belief = self._fresh

    def reset(self) -> None:
        """Forget the conversation."""
        self._belief = self._fresh

    def identify(self, voiceprint: Matrix, duration_s: float, pause_s: float = 0.0) -> Identification:
        """Take the next utterance's ``float32[dim]`` and return who spoke.

        Args:
            voiceprint: of the utterance.
            duration_s: its speech.
            pause_s: since the end of the previous utterance.
        """
        stay = self.stay * math.exp(-max(0.0, pause_s) / self.forget_s)
        prior = stay * self._belief + (1 - stay) * self._fresh
        evidence = np.append(self._log_ratios(voiceprint, duration_s), 0.0)
        joint = np.where(prior > 0, prior * np.exp(np.minimum(evidence - evidence[prior > 0].max(), 0.0)), 0.0)
        self._belief = joint / joint.sum()
        *shares, stranger = self._belief.tolist()
        return Identification(dict(zip(self.names, shares, strict=True)), stranger, self.threshold)

    def _log_ratios(self, voiceprint: Matrix, duration_s: float) -> Doubles:
        """Return what ``VoiceCalibration.log_ratios`` gives for each person, ``float64[people]``, in one product."""
        if not self.names:
            return np.zeros(0)
        cosines = (self._prints @ voiceprint).astype(np.float64)
        centre = np.add.reduceat(cosines, self._starts) / self._counts / self._norms
        nearest = np.maximum.reduceat(cosines, self._starts)
        if self.calibration.cohort is not None:
            expected = (self._likeness + likeness(voiceprint[None], self.calibration.cohort)) / 2
            centre, nearest = centre - expected, nearest - expected
        durations_s = np.full(len(self.names), duration_s)
        ratios: Doubles = _columns(centre, nearest, durations_s, self._counts) @ self.calibration.weights
        return ratios
