"""The label prior: how often one person shows each label, learnt without labels, and answers that take it into account.

The categorical form of personalised label distribution calibration (PLDC; Tran, Yin & Soleymani 2023, "Personalized
Adaptation with Pre-trained Speech Encoders for Continuous Emotion Recognition"): what is calibrated is not the mean and
deviation of a continuous annotation, but the shares of the labels. The shares of similar training speakers, as in the
paper, say nothing about new ones where emotions are acted in equal numbers (docs/pldc); the clips themselves do.
"""

from __future__ import annotations

import numpy as np

from edge.arrays import Matrix

PRIOR_CLIPS = 40.0
"""Clips that what was expected before any was heard counts for. With 10, or none, speakers left out who show all labels
alike lose three points and more: a head that takes one label of theirs for another makes its own evidence."""
STEPS = 30
"""Of expectation and maximisation; more change nothing that matters."""
LEAST_SHARE = 1e-3
"""Of any label, so that none is ever impossible."""


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
