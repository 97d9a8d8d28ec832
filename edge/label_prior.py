"""The label prior: how often one person shows each label, learnt without labels, and answers that take it into account.

The categorical form of personalised label distribution calibration (PLDC; Tran, Yin & Soleymani 2023, "Personalized
Adaptation with Pre-trained Speech Encoders for Continuous Emotion Recognition"): what is calibrated is not the mean and
deviation of a continuous annotation, but the shares of the labels.
"""

from __future__ import annotations

import numpy as np

from edge.arrays import Integers, Matrix
from edge.population import Population

SIMILAR_SPEAKERS = 15
"""Training speakers whose labels stand in for those of a new one (k of PLDC)."""
PRIOR_CLIPS = 10.0
"""Clips that what is known before any was heard counts for."""
STEPS = 30
"""Of expectation and maximisation; more change nothing that matters."""
LEAST_SHARE = 1e-3
"""Of any label, so that none is ever impossible."""


def similar_speakers(offsets: Matrix, offset: Matrix, count: int = SIMILAR_SPEAKERS) -> Integers:
    """Return the rows of ``float32[speakers, dim]`` nearest to ``float32[dim]`` by cosine, ``int64[count]``."""
    return np.argsort(-cosines(offsets, offset), kind="stable")[:count]


def cosines(offsets: Matrix, offset: Matrix) -> Matrix:
    """Return the cosine ``float32[speakers]`` of each row of ``float32[speakers, dim]`` with ``float32[dim]``."""
    lengths = np.linalg.norm(offsets, axis=1) * np.linalg.norm(offset)
    return np.asarray(offsets @ offset / np.maximum(lengths, 1e-12), np.float32)


def similar_prior(population: Population, offset: Matrix) -> Matrix:
    """Return how often someone with that offset is expected to show each label, ``float32[labels]``.

    The head's own prior, times the shares of the training speakers most similar over the shares of all: whose like
    showed no label more than others did is expected to show each as often as the head does.
    """
    similar = similar_speakers(population.offsets, offset)
    shares, average = (np.maximum(each.mean(axis=0), LEAST_SHARE) for each in (
        population.label_shares[similar], population.label_shares
    ))  # fmt: skip
    prior: Matrix = _normalised(population.head_prior * shares / average)
    return prior


def fit_label_prior(
    probabilities: Matrix, head_prior: Matrix, expected: Matrix, prior_clips: float = PRIOR_CLIPS
) -> Matrix:
    """Return how often each label was shown in unlabelled clips, ``float32[labels]``.

    Expectation and maximisation (Saerens, Latinne & Decaestecker 2002, equations 2.9 and 2.10), towards the maximum a
    posteriori under a Dirichlet prior that weighs as much as ``prior_clips`` clips of the shares ``expected``.

    Args:
        probabilities: ``float32[clips, labels]``, the head's answers to the clips; none gives ``expected``.
        head_prior: ``float32[labels]``, what the head takes for usual.
        expected: ``float32[labels]``, before any clip was heard.
        prior_clips: more than 0, or at least one clip.
    """
    prior = expected.astype(np.float64)
    for _ in range(STEPS if len(probabilities) else 0):
        weighted = probabilities * (prior / np.maximum(head_prior, LEAST_SHARE))
        shown = (weighted / weighted.sum(axis=1, keepdims=True)).sum(axis=0)
        prior = (shown + prior_clips * expected) / (len(probabilities) + prior_clips)
    return _normalised(np.maximum(prior, LEAST_SHARE))


def label_ratio(prior: Matrix, head_prior: Matrix, power: float = 1.0) -> Matrix:
    """Return by what ``with_label_prior`` multiplies, ``float32[labels]``: ``(prior / head_prior) ** power``.

    Args:
        prior: ``float32[labels]``, of the person.
        head_prior: ``float32[labels]``, what the head takes for usual.
        power: how far the prior is believed, 0 to 1; 0 changes nothing.
    """
    ratio = np.maximum(prior, LEAST_SHARE) / np.maximum(head_prior, LEAST_SHARE)
    return np.asarray(ratio**power, np.float32)


def with_label_prior(probabilities: Matrix, ratio: Matrix) -> Matrix:
    """Return answers as of someone who shows the labels as often as their prior says.

    ``p'(label) ∝ p(label) · ratio(label)`` (Saerens et al. 2002, equation 2.4), for ``float32[n, labels]``.
    """
    return _normalised(probabilities * ratio)


def _normalised(shares: np.ndarray) -> Matrix:
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True), np.float32)
