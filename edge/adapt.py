"""Adaptation: a voice profile estimated from enrolment clips, and probabilities that take it into account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.arrays import Doubles, Integers, Matrix, softmax
from edge.errors import UsageError, nearest
from edge.head import Head
from edge.population import Population
from edge.room import KNOWN_SHARE, Room

PSEUDO_CLIPS = 3.0
"""Noise over speaker variance: ``n`` clips move the offset ``n / (n + PSEUDO_CLIPS)`` of the way."""
MIXED_PRIOR = 0.8
"""Probability, before any clip is seen, that unlabelled clips are of mixed emotion and not all of one."""
TEMPERING = 3.0
"""Divides the log-evidence: the Gaussians fit the training speakers closer than anyone met later."""
SIMILAR_SPEAKERS = 15
"""Training speakers whose labels stand in for those of a new one (k of PLDC)."""
PRIOR_CLIPS = 10.0
"""Clips that the similar speakers count for in the label prior."""


@dataclass(frozen=True)
class VoiceProfile:
    """A voice profile: how one person's voice moves the embedding."""

    offset: Matrix
    """``float32[dim]``, subtracted from the person's embeddings."""
    label_prior: Matrix
    """``float32[labels]``: how often the person shows each label, as far as known; sums to one."""
    clips: int
    """Enrolled."""
    mixed: float
    """Probability that the unlabelled clips were of mixed emotion; 1 when there were none."""
    room: Matrix | None = None
    """``float32[dim]``: the mean of the room that the person was enrolled in; None where it is not known."""
    room_share: float = 0.0
    """How far that room's estimate was trusted, 0 to 1."""

    @classmethod
    def estimate(
        cls, population: Population, embeddings: Matrix, labels: Sequence[str | None] | None = None
    ) -> VoiceProfile:
        """Estimate a voice profile from enrolment clips ``float32[clips, dim]``, some, all or none with a known label.

        The offset is the posterior mean of the factor model with ``Σ_ε = PSEUDO_CLIPS · Σ_u``,
        ``u = Σ (z - mean - shift) / (clips + PSEUDO_CLIPS)``. The shift of an unlabelled clip is averaged over
        hypotheses about all unlabelled clips together: of mixed emotion (no shift on average), or all of one label.
        Their spread decides, which does not depend on who speaks, and where they lie, which does.

        Raises:
            UsageError: a label is not one of the population's, or there is not one for every clip.
        """
        known = _label_indices(population, labels, len(embeddings))
        clips = np.asarray(embeddings, np.float64).reshape(len(embeddings), len(population.mean)) - population.mean
        shifts = np.zeros_like(clips)
        shifts[known >= 0] = population.shifts[known[known >= 0]]
        hypotheses = _hypotheses(population, clips, known)
        shifts[known < 0] = hypotheses[1:] @ population.shifts
        offset = ((clips - shifts).sum(axis=0) / (len(clips) + PSEUDO_CLIPS)).astype(np.float32)
        return cls(offset, label_prior(population, offset), len(clips), float(hypotheses[0]))

    @property
    def share(self) -> float:
        """How far the profile is trusted over the population, 0 to 1."""
        return self.clips / (self.clips + PSEUDO_CLIPS)

    @property
    def own(self) -> Matrix | None:
        """``float32[dim]``: the part of the offset that is the person's and not the room's; None if that is unknown.

        The posterior mean of ``u`` given the room, ``share * (mean of the clips - room)``.
        """
        if self.room is None or self.room_share < KNOWN_SHARE:
            return None
        own: Matrix = self.offset - np.float32(self.share) * self.room
        return own

    def moved_to(self, room: Room) -> VoiceProfile | None:
        """Return the profile as if the same clips had been spoken in another room.

        None where there is nothing to move: it is the same room, or one of the two is not known well enough.
        """
        own = self.own
        if own is None or self.room is None or not room.is_known or not room.differs_from(self.room):
            return None
        return replace(self, offset=own + np.float32(self.share) * room.mean)

    def apply(self, embeddings: Matrix) -> Matrix:
        """Return ``float32[batch, dim]`` without the person's offset."""
        moved: Matrix = embeddings - self.offset
        return moved


def adapted_probabilities(
    head: Head,
    population: Population,
    voice_profile: VoiceProfile,
    embeddings: Matrix,
    weight: float = 1.0,
    as_strangers: Matrix | None = None,
) -> Matrix:
    """Return ``float32[batch, labels]`` for embeddings ``float32[batch, dim]`` of someone who is probably enrolled.

    Args:
        head: for strangers.
        population: with the head for regulars, which takes over as the profile's share grows.
        voice_profile: of the person.
        embeddings: of their utterances.
        weight: posterior probability that it is this person: the result is the mixture of both cases.
        as_strangers: the embeddings for the other case, without the room; None: as they are.
    """
    moved = voice_profile.apply(embeddings)
    share = voice_profile.share
    known = share * population.regulars.probabilities(moved) + (1 - share) * head.probabilities(moved)
    known /= known.sum(axis=1, keepdims=True)
    unknown = head.probabilities(embeddings if as_strangers is None else as_strangers)
    mixture: Matrix = (weight * known + (1 - weight) * unknown).astype(np.float32)
    return mixture


def label_prior(population: Population, offset: Matrix) -> Matrix:
    """Return how often someone shows each label, ``float32[labels]``: PLDC (Tran et al. 2023) in categorical form.

    The mean of a Dirichlet posterior. Its prior counts as much as ``PRIOR_CLIPS`` clips: the shares of the training
    speakers nearest by the cosine of their offsets, plus one clip spread as in the whole population. What was asked for
    at enrolment says nothing about a person. Kept with the profile, but not applied: with emotions acted in equal
    numbers a prior can only learn which corpus someone sounds like.
    """
    lengths = np.linalg.norm(population.offsets, axis=1) * np.linalg.norm(offset)
    likeness = population.offsets @ offset / np.maximum(lengths, 1e-12)
    similar = np.argsort(-likeness, kind="stable")[:SIMILAR_SPEAKERS]
    average = np.maximum(population.label_shares.mean(axis=0), np.float32(1e-3))
    total = PRIOR_CLIPS * population.label_shares[similar].mean(axis=0) + average
    prior: Matrix = (total / total.sum()).astype(np.float32)
    return prior


def _label_indices(population: Population, labels: Sequence[str | None] | None, clips: int) -> Integers:
    """Return ``int64[clips]``, -1 where the label is not known."""
    if labels is None:
        return np.full(clips, -1)
    if len(labels) != clips:
        raise UsageError(f"{clips} clips have {len(labels)} labels; there must be one for each, or null")
    for label in labels:
        if label is not None and label not in population.labels:
            allowed = ", ".join(population.labels)
            raise UsageError(f"label {label!r} is not one of {allowed}{nearest(label, population.labels)}")
    return np.array([-1 if label is None else population.labels.index(label) for label in labels], np.int64)


def _hypotheses(population: Population, clips: Doubles, known: Integers) -> Doubles:
    """Return the posterior ``float64[1 + labels]`` of unlabelled clips being mixed, or all of each label.

    Along the population's axes, mixed clips are ``N(u, Σ_ε + Σ_δ)`` with ``Σ_δ`` the scatter of the shifts, clips of
    label ``y`` are ``N(δ_y + u, Σ_ε)``; ``u ~ N(0, Σ_u)`` given the labelled clips, integrated out in closed form.

    Args:
        population: the model.
        clips: ``float64[clips, dim]`` minus the population's mean.
        known: ``int64[clips]``, index of the label or -1.
    """
    shifts = (population.shifts @ population.axes.T).astype(np.float64)
    within = population.within.astype(np.float64)
    along = clips @ population.axes.T
    unlabelled = along[known < 0]
    count = len(unlabelled)
    if not count:
        return np.eye(1 + len(shifts))[:, 0]
    centre, covariance = _posterior(population, along[known >= 0] - shifts[known[known >= 0]])
    mean = unlabelled.mean(axis=0)
    scatter = (unlabelled - mean).T @ (unlabelled - mean)
    spread = within + _scatter(population)
    evidence = np.empty(1 + len(shifts))
    for index, (noise, shift) in enumerate([(spread, 0.0 * centre), *((within, shift) for shift in shifts)]):
        around = covariance + noise / count
        apart = mean - centre - shift
        evidence[index] = -0.5 * (
            (count - 1) * np.linalg.slogdet(noise)[1]
            + np.trace(np.linalg.solve(noise, scatter))
            + np.linalg.slogdet(around)[1]
            + apart @ np.linalg.solve(around, apart)
        )
    prior = np.full(1 + len(shifts), (1 - MIXED_PRIOR) / len(shifts))
    prior[0] = MIXED_PRIOR
    return softmax(np.log(prior) + evidence / TEMPERING)


def _scatter(population: Population) -> Doubles:
    """Return the covariance ``float64[axes, axes]`` of the labels' shifts."""
    return np.atleast_2d(np.cov(population.axes.astype(np.float64) @ population.shifts.T, bias=True))


def _posterior(population: Population, clips: Doubles) -> tuple[Doubles, Doubles]:
    """Return mean and covariance of ``u`` along the axes given clips ``float64[clips, axes]`` without their shifts."""
    between, within = population.between.astype(np.float64), population.within.astype(np.float64)
    gain = between @ np.linalg.inv(len(clips) * between + within)
    return gain @ clips.sum(axis=0), between - len(clips) * gain @ between
