"""Adaptation: a voice profile estimated from enrolment clips, and probabilities that take it into account."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.arrays import Integers, Matrix
from edge.errors import UsageError, nearest
from edge.head import Head
from edge.label_prior import fit_label_prior, with_label_prior
from edge.population import Population
from edge.room import Room
from edge.value_shift import PersonalShift, ValueStatistics
from edge.values import Readout

PSEUDO_CLIPS = 12.0
"""Noise over speaker variance: ``n`` clips move the offset ``n / (n + PSEUDO_CLIPS)`` of the way from the room's."""
LABEL_SHIFT = 0.7
"""Share of the label shift, as the head expects it, that is taken out of unlabelled clips. 0 takes them to be of mixed
emotion, 1 believes the head: on speakers left out, mixed clips gain the most near 0, clips of one emotion near 1."""
PASSES = 2
"""Over the clips: the head answers better without an offset that is nearly right."""


@dataclass(frozen=True)
class VoiceProfile:
    """A voice profile: where one person's voice lies in the embedding.

    The model is ``z = mean + room + person + shift_label + noise``. What a person's clips have in common is room and
    person together; how far that is trusted depends on their number, and the rest is the room's.
    """

    centre: Matrix
    """``float32[dim]``: mean of the clips less the population's mean and their label shifts; the room is still in."""
    label_prior: Matrix | None
    """``float32[labels]``: how often the person shows each label, see ``edge.label_prior``; None: earlier versions did
    not learn it. Clips whose label is known say nothing about it: it was asked for."""
    clips: int
    """Enrolled."""
    room: Matrix | None = None
    """``float32[dim]``: the mean of the room that the person was enrolled in; None where it is not known."""
    values: ValueStatistics | None = None
    """How the values estimated of their clips lie; None where the bundle estimates none, or did not then."""

    @classmethod
    def estimate(
        cls,
        population: Population,
        head: Head,
        embeddings: Matrix,
        labels: Sequence[str | None] | None = None,
        room: Matrix | None = None,
    ) -> VoiceProfile:
        """Estimate a voice profile from enrolment clips, some, all or none with a known label.

        ``centre = mean(z - mean - shift)``; the shift of an unlabelled clip is ``LABEL_SHIFT * p @ shifts`` with the
        head's answer ``p`` to the clip without what is known so far.

        Args:
            population: the model.
            head: answers to the clips.
            embeddings: ``float32[clips, dim]``.
            labels: of the clips, None where it is not known.
            room: offset ``float32[dim]`` of the room that they were spoken in; None: unknown.

        Raises:
            UsageError: a label is not one of the population's, or there is not one for every clip.
        """
        known = _label_indices(population, labels, len(embeddings))
        clips = np.asarray(embeddings, np.float32).reshape(len(embeddings), len(population.mean))
        elsewhere = np.zeros_like(population.mean) if room is None else room
        if not len(clips):
            return cls(elsewhere, population.head_prior, 0)
        shifts = population.shifts[known]
        share, offset = _share(len(clips)), elsewhere
        for _ in range(PASSES):
            expected = np.float32(LABEL_SHIFT) * (head.probabilities(clips - offset) @ population.shifts)
            centre = (clips - population.mean - np.where(known[:, None] < 0, expected, shifts)).mean(axis=0)
            offset = np.float32(share) * centre + np.float32(1 - share) * elsewhere
        answers = head.probabilities(clips[known < 0] - offset)
        prior = fit_label_prior(answers, population.head_prior, population.head_prior)
        values = ValueStatistics.of(head.values.estimate(clips - offset)) if head.values else None
        return cls(centre, prior, len(clips), values=values)

    @property
    def share(self) -> float:
        """How far the profile is trusted over the room, 0 to 1."""
        return _share(self.clips)

    @property
    def own(self) -> Matrix | None:
        """``float32[dim]``: the part of the centre that is the person's and not the room's; None if that is unknown."""
        if self.room is None:
            return None
        own: Matrix = np.float32(self.share) * (self.centre - self.room)
        return own

    def moved_to(self, room: Room) -> VoiceProfile | None:
        """Return the profile as if the same clips had been spoken in another room.

        None where there is nothing to move: it is the same room, or one of the two is not known well enough.
        """
        if self.room is None or not room.is_known or not room.differs_from(self.room):
            return None
        return replace(self, centre=self.centre - self.room + room.mean, room=room.mean)

    def offset(self, room: Matrix | None = None) -> Matrix:
        """Return what is subtracted from the person's embeddings, ``float32[dim]``.

        The posterior mean of room and person together, ``share * centre + (1 - share) * room``: one person alone in a
        room is not counted twice. ``room`` is the offset ``float32[dim]`` of the room they are in; None: unknown.
        """
        offset: Matrix = np.float32(self.share) * self.centre
        return offset if room is None else offset + np.float32(1 - self.share) * room


def _share(clips: int) -> float:
    return clips / (clips + PSEUDO_CLIPS)


def adapted_probabilities(
    head: Head,
    embeddings: Matrix,
    offset: Matrix,
    weight: float = 1.0,
    otherwise: Matrix | None = None,
    ratio: Matrix | None = None,
) -> Matrix:
    """Return ``float32[batch, labels]`` for embeddings ``float32[batch, dim]`` of someone who is probably enrolled.

    Args:
        head: of the bundle.
        embeddings: of their utterances.
        offset: of the person, ``float32[dim]``, see ``VoiceProfile.offset``.
        weight: posterior probability that it is this person: the result is the mixture of both cases.
        otherwise: offset ``float32[dim]`` in the other case, the room's; None: zero.
        ratio: ``float32[labels]`` of the person's label prior, see ``edge.label_prior``; None: the head's own.
    """

    def known(clips: Matrix) -> Matrix:
        answers = head.probabilities(clips)
        return answers if ratio is None else with_label_prior(answers, ratio)

    return _mixture(known, head.probabilities, embeddings, offset, weight, otherwise)


def adapted_values(
    readout: Readout,
    embeddings: Matrix,
    offset: Matrix,
    weight: float = 1.0,
    otherwise: Matrix | None = None,
    shift: PersonalShift | None = None,
) -> Matrix:
    """Return ``float32[batch, values]`` in the same way: the expectation over both cases, the person's own shifted."""

    def known(clips: Matrix) -> Matrix:
        values = readout.estimate(clips)
        return values if shift is None else shift.apply(values)

    return _mixture(known, readout.estimate, embeddings, offset, weight, otherwise)


def _mixture(
    known: Callable[[Matrix], Matrix],
    unknown: Callable[[Matrix], Matrix],
    embeddings: Matrix,
    offset: Matrix,
    weight: float,
    otherwise: Matrix | None,
) -> Matrix:
    ours = known(embeddings - offset)
    others = unknown(embeddings if otherwise is None else embeddings - otherwise)
    mixture: Matrix = (weight * ours + (1 - weight) * others).astype(np.float32)
    return mixture


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
