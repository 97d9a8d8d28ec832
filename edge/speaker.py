"""Who speaks: voiceprints compared with those of enrolled people, as probabilities that carry over a conversation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.arrays import Doubles, Matrix, unit
from edge.cohort import Cohort

SHORTEST_S = 0.5
MOST_PRINTS = 16
"""More prints of a person raise no further confidence."""
FEATURES = 6
"""Columns of ``EnrolledVoices.features``."""


@dataclass(frozen=True)
class VoiceCalibration:
    """From scores to evidence: logistic regression that knows the duration and the number of prints.

    The quality measures follow Mandasari et al. 2013.
    """

    weights: Doubles
    """``float64[6]``, one for each column of ``EnrolledVoices.features``."""
    cohort: Cohort | None = None
    """None: scores are plain cosines."""

    def log_ratios(self, enrolled: Matrix, prints: Matrix, durations_s: Doubles) -> Doubles:
        """Return log p(print | this person) / p(print | someone else) as ``float64[n]``.

        Args:
            enrolled: ``float32[prints, dim]`` of one person.
            prints: ``float32[n, dim]`` to compare.
            durations_s: their speech, ``float64[n]``.
        """
        ratios: Doubles = EnrolledVoices([enrolled], self.cohort).features(prints, durations_s)[0] @ self.weights
        return ratios


class EnrolledVoices:
    """Prints of one person or more, ready to be compared with others."""

    def __init__(self, people: Sequence[Matrix], cohort: Cohort | None) -> None:
        """Prepare ``float32[prints, dim]`` of each person, of unit length."""
        self.cohort = cohort
        prints = [cohort.centred(mine) if cohort else mine for mine in people]
        self._prints = np.concatenate(prints) if prints else np.zeros((0, 0), np.float32)
        self._counts = np.array([[len(mine)] for mine in prints], np.int64).reshape(-1, 1)
        self._starts = (self._counts.cumsum() - self._counts[:, 0]).tolist()
        self._norms = np.array([[_mean_length(mine)] for mine in prints]).reshape(-1, 1)
        expected = [cohort.expected_of_person(mine) if cohort else 0.0 for mine in prints]
        self._expected = np.array(expected, np.float64).reshape(-1, 1)

    def features(self, prints: Matrix, durations_s: Doubles) -> Doubles:
        """Return ``float64[people, n, 6]``: what the regression sees of trials of people against prints.

        The score is the cosine with the person's mean print and, half as much, with the nearest one; less what the
        cohort expects, if there is one.

        Args:
            prints: ``float32[n, dim]``.
            durations_s: their speech, ``float64[n]``.
        """
        if not len(self._counts):
            return np.zeros((0, len(prints), FEATURES))
        if self.cohort:
            prints = self.cohort.centred(prints)
        cosines = (self._prints @ prints.T).astype(np.float64)
        centre = np.add.reduceat(cosines, self._starts) / self._counts / self._norms
        score = (centre + 0.5 * np.maximum.reduceat(cosines, self._starts)) / 1.5 - self._expected
        if self.cohort:
            score -= self.cohort.expected_of_prints(prints)
        duration = np.broadcast_to(np.log(np.maximum(durations_s, SHORTEST_S) / 2.0), score.shape)
        count = np.broadcast_to(np.log(np.minimum(self._counts, MOST_PRINTS) / 4.0), score.shape)
        return np.stack([np.ones_like(score), score, duration, count, score * duration, score * count], axis=2)


def _mean_length(prints: Matrix) -> float:
    return max(float(np.linalg.norm(prints.mean(axis=0))), 1e-9)


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

    def of_people(self) -> Identification:
        """Return the same, provided that it is no stranger."""
        share = 1 - self.stranger
        if share <= 0:
            return self
        return Identification({name: one / share for name, one in self.posterior.items()}, 0.0, self.threshold)

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
        stranger: float = 0.4,
        stay: float = 0.5,
        forget_s: float = 120.0,
        threshold: float = 0.7,
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
        self._voices = EnrolledVoices([unit(prints) for prints in people.values()], calibration.cohort)
        self.stay, self.forget_s, self.threshold = stay, forget_s, threshold
        stranger = stranger if people else 1.0
        self._fresh = np.array([(1 - stranger) / max(1, len(people))] * len(people) + [stranger])
        self._belief = self._fresh

    def reset(self) -> None:
        """Forget the conversation."""
        self._belief = self._fresh

    def identify(self, voiceprint: Matrix, duration_s: float, pause_s: float = 0.0) -> Identification:
        """Take the next utterance, see ``estimate``, and return who spoke."""
        found = self.estimate(voiceprint, duration_s, pause_s)
        self.follow(found)
        return found

    def estimate(self, voiceprint: Matrix, duration_s: float, pause_s: float = 0.0) -> Identification:
        """Return who speaks, which changes nothing yet.

        Args:
            voiceprint: of the utterance, ``float32[dim]``.
            duration_s: its speech.
            pause_s: since the end of the previous utterance.
        """
        stay = self.stay * math.exp(-max(0.0, pause_s) / self.forget_s)
        prior = stay * self._belief + (1 - stay) * self._fresh
        features = self._voices.features(voiceprint[None], np.array([duration_s]))[:, 0]
        evidence = np.append(features @ self.calibration.weights, 0.0)
        joint = np.where(prior > 0, prior * np.exp(np.minimum(evidence - evidence[prior > 0].max(), 0.0)), 0.0)
        *shares, stranger = (joint / joint.sum()).tolist()
        return Identification(dict(zip(self.names, shares, strict=True)), stranger, self.threshold)

    def follow(self, found: Identification) -> None:
        """Carry on from an estimate, once that utterance is over."""
        self._belief = np.array([*found.posterior.values(), found.stranger])
