"""Who speaks: voiceprints compared with those of enrolled people, as probabilities that carry over a conversation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.audio import Waveform
from edge.encoder import Encoder
from edge.errors import ModelError
from edge.head import Matrix

Doubles = npt.NDArray[np.float64]

VOICEPRINT = "voiceprint"
SHORTEST_S = 0.5
MOST_PRINTS = 16
"""More prints of a person raise no further confidence."""
FEATURES = 6
"""Columns of ``features``."""
WEIGHTS = "voice.weights"
"""Name of the calibration's tensor in ``population.safetensors``."""


class SpeakerEncoder(Encoder):
    """``waveform float32[batch, samples]``, ``lengths int64[batch]`` to ``voiceprint float32[batch, dim]``.

    Voiceprints have unit length. Any graph that keeps this contract can take the place of the one in the bundle.
    """

    output = VOICEPRINT

    def voiceprint(self, waveform: Waveform) -> Matrix:
        """Return ``float32[dim]`` of unit length for speech of any length: beyond the longest bucket, parts' mean."""
        parts = np.array_split(waveform, max(1, -(-len(waveform) // self.buckets.longest)))
        prints = np.concatenate([self.embed([part], self.buckets.fit(len(part))) for part in parts])
        return unit(prints.mean(axis=0))


@dataclass(frozen=True)
class VoiceCalibration:
    """From cosines to evidence: logistic regression that knows the duration and the number of prints.

    The quality measures follow Mandasari et al. 2013. Adaptive score normalisation against a cohort, as a feature or
    instead, was measured and lost to this.
    """

    weights: Doubles
    """``float64[6]``, one for each column of ``features``."""

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]]) -> VoiceCalibration:
        """Return what ``tensors`` gave.

        Raises:
            ModelError: the tensor is missing, of another shape, or not finite.
        """
        weights = tensors.get(WEIGHTS)
        if weights is None or weights.shape != (FEATURES,) or not np.isfinite(weights).all():
            found = "missing" if weights is None else f"{weights.shape}, or not finite"
            raise ModelError(f"the population's {WEIGHTS} must be ({FEATURES},) and finite; it is {found}")
        return cls(weights.astype(np.float64))

    def tensors(self) -> dict[str, Doubles]:
        """Return what goes into ``population.safetensors``."""
        return {WEIGHTS: self.weights}

    def log_ratios(self, enrolled: Matrix, prints: Matrix, durations_s: Doubles) -> Doubles:
        """Return log p(print | this person) / p(print | someone else) as ``float64[n]``.

        Args:
            enrolled: ``float32[prints, dim]`` of one person.
            prints: ``float32[n, dim]`` to compare.
            durations_s: their speech, ``float64[n]``.
        """
        ratios: Doubles = features(enrolled, prints, durations_s) @ self.weights
        return ratios


def features(enrolled: Matrix, prints: Matrix, durations_s: Doubles) -> Doubles:
    """Return ``float64[n, 6]``: what the regression sees of trials of one person against prints.

    The score is the cosine with the person's mean print and, half as much, with the nearest one.
    """
    cosines = (prints @ enrolled.T).astype(np.float64)
    centre = cosines.mean(axis=1) / max(float(np.linalg.norm(enrolled.mean(axis=0))), 1e-9)
    score = (centre + 0.5 * cosines.max(axis=1)) / 1.5
    duration = np.log(np.maximum(durations_s, SHORTEST_S) / 2.0)
    count = np.full_like(duration, math.log(min(len(enrolled), MOST_PRINTS) / 4.0))
    return np.stack([np.ones_like(duration), score, duration, count, score * duration, score * count], axis=1)


@dataclass(frozen=True)
class Identification:
    """Who an utterance is from, as far as one can tell."""

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
        threshold: float = 0.8,
    ) -> None:
        """Prepare for a conversation.

        Args:
            calibration: of the bundle.
            people: name to voiceprints ``float32[n, dim]``, all from the bundle's speaker encoder.
            stranger: probability that a new voice is nobody's of these; 0 when a source is bound to them.
            stay: probability that the voice of the last utterance goes on, without a pause.
            forget_s: pause after which that has fallen to a third.
            threshold: see ``Identification``.
        """
        self.calibration = calibration
        self.people = {name: unit(prints) for name, prints in people.items()}
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
        durations_s = np.array([duration_s])
        ratios = [
            self.calibration.log_ratios(prints, voiceprint[None], durations_s)[0] for prints in self.people.values()
        ]
        stay = self.stay * math.exp(-max(0.0, pause_s) / self.forget_s)
        prior = stay * self._belief + (1 - stay) * self._fresh
        evidence = np.array([*ratios, 0.0])
        joint = np.where(prior > 0, prior * np.exp(np.minimum(evidence - evidence[prior > 0].max(), 0.0)), 0.0)
        self._belief = joint / joint.sum()
        *shares, stranger = self._belief.tolist()
        return Identification(dict(zip(self.people, shares, strict=True)), stranger, self.threshold)


def unit(vectors: Matrix) -> Matrix:
    """Return vectors of unit length along the last axis; zero stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Matrix = (vectors / np.maximum(norms, 1e-9)).astype(np.float32)
    return scaled
