"""One enrolment, answered with every offset and every label prior."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from calibrate.dataset import Rows
from calibrate.experiments.pldc.skew import Draw, weights_of
from calibrate.metrics import Probabilities
from calibrate.streams import DeviceModel
from edge.adapt import VoiceProfile
from edge.arrays import Matrix
from edge.head import Head
from edge.label_prior import LEAST_SHARE, PRIOR_CLIPS, fit_label_prior, label_ratio, with_label_prior
from edge.population import Population
from edge.similar import similar_speakers

OFFSETS = {
    "none": "the embeddings as they are",
    "room": "without the room",
    "person": "enrolled, in a room of which nothing is known",
    "person, room": "enrolled, in the room",
}
"""What is taken out of the embeddings before the head answers."""
PRIORS = {
    "none": "the head's own",
    "similar": "from the labels of similar training speakers",
    "EM": "by expectation and maximisation over the enrolment's clips, without their labels, as the device learns it",
    "both": "the same, from where the similar speakers are",
    "true": "the shares that the speaker was drawn with",
}
"""Of the labels."""
Condition = tuple[str, str]
"""An offset and a prior."""


@dataclass(frozen=True)
class Belief:
    """How far a prior that was learnt is believed."""

    power: float = 0.5
    """See ``edge.label_prior.label_ratio``; a device believes as much as ``speakers.label_prior`` says."""
    prior_clips: float = PRIOR_CLIPS
    """See ``edge.label_prior.fit_label_prior``."""


@dataclass(frozen=True)
class Score:
    """Answers to one speaker's test clips, weighed by how often they show each label."""

    wa: float
    """Share of right answers."""
    ua: float
    """Mean recall over the speaker's labels."""
    loss: float
    """Mean negative log-likelihood of the true label, in nats."""


def restricted(model: DeviceModel, labels: Rows) -> DeviceModel:
    """Return a model that knows some of its labels only, ``int64[n]``, so that no prior can gain by the others."""
    head, population = model.head, model.population
    shares = population.label_shares[:, labels] + np.float32(1e-6)
    return replace(
        model,
        head=Head(head.weight[labels], head.bias[labels], head.temperature, values=head.values),
        population=replace(
            population,
            labels=tuple(population.labels[label] for label in labels),
            shifts=population.shifts[labels],
            label_shares=shares / shares.sum(axis=1, keepdims=True),
            head_prior=population.head_prior[labels] / population.head_prior[labels].sum(),
        ),
    )


def score_conditions(
    model: DeviceModel,
    embeddings: Matrix,
    labels: Rows,
    draw: Draw,
    room: Matrix,
    belief: Belief,
) -> dict[Condition, Score]:
    """Score every condition on one draw of a speaker.

    Args:
        model: what answers.
        embeddings: ``float32[clips, dim]``, all of the speaker's.
        labels: ``int64[clips]``.
        draw: which of them enrol, and which are tested.
        room: offset ``float32[dim]`` of the room.
        belief: how far a prior that was learnt is believed.
    """
    population, head = model.population, model.head
    enrolled, tested = embeddings[draw.enrolled], embeddings[draw.tested]
    profiles = {name: VoiceProfile.estimate(population, head, enrolled, room=known) for name, known in (
        ("person", None), ("person, room", room)
    )}  # fmt: skip
    offsets = {
        "none": np.zeros_like(room),
        "room": room,
        "person": profiles["person"].offset(),
        "person, room": profiles["person, room"].offset(room),
    }
    weights = weights_of(draw, labels)
    found = {}
    for name, offset in offsets.items():
        answers, heard = head.probabilities(tested - offset), head.probabilities(enrolled - offset)
        similar = similar_prior(population, offset)
        own, clips = population.head_prior, belief.prior_clips
        priors = {
            "similar": (similar, belief.power),
            "EM": (fit_label_prior(heard, own, own, clips), belief.power),
            "both": (fit_label_prior(heard, own, similar, clips), belief.power),
            "true": (draw.shares.astype(np.float32), 1.0),
        }
        found[name, "none"] = _score(answers, labels[draw.tested], weights)
        for prior, (shares, power) in priors.items():
            changed = with_label_prior(answers, label_ratio(shares, own, power))
            found[name, prior] = _score(changed, labels[draw.tested], weights)
    return found


def similar_prior(population: Population, offset: Matrix) -> Matrix:
    """Return how often someone with that offset is expected to show each label, ``float32[labels]``.

    The head's own prior, times the shares of the training speakers most similar over the shares of all: whose like
    showed no label more than others did is expected to show each as often as the head does.
    """
    rows = similar_speakers(population.offsets, offset)
    similar, average = (
        np.maximum(shares.mean(axis=0), LEAST_SHARE)
        for shares in (population.label_shares[rows], population.label_shares)
    )
    prior: Matrix = population.head_prior * similar / average
    return np.asarray(prior / prior.sum(), np.float32)


def _score(answers: Probabilities, true: Rows, weights: np.ndarray) -> Score:
    right = answers.argmax(axis=1) == true
    loss = -np.log(np.maximum(answers[np.arange(len(true)), true], 1e-6))
    recalls = [float(right[true == label].mean()) for label in np.unique(true)]
    return Score(float(weights @ right), float(np.mean(recalls)), float(weights @ loss))
