"""The read-out of values: ridge regression on the head's embedding, as spread out as what it is to estimate."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from calibrate.dataset import Part
from calibrate.recipe import Recipe
from calibrate.training.regression import views_of
from calibrate.value_targets import require_targets, value_targets
from edge.arrays import Doubles, Integers, Matrix
from edge.values import Readout

logger = logging.getLogger(__name__)

PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Beside the mean variance of the embedding's dimensions; the one that correlates best on speakers left out is kept."""
USUAL_PENALTY = 0.1
"""Where no speaker can be left out."""
FOLDS = 5
"""Of the speakers, to leave out in turn; one each where there are fewer."""


class Line(NamedTuple):
    """A linear function of the embedding."""

    weight: Doubles
    """``float64[dim]``"""
    bias: float

    def of(self, embeddings: Matrix) -> Doubles:
        """Return ``float64[n]`` for ``float32[n, dim]``."""
        return np.asarray(embeddings @ self.weight + self.bias, np.float64)


def fit_readout(embeddings: Sequence[Matrix], part: Part, recipe: Recipe) -> Readout:
    """Fit the values of a recipe, each to the clips that have it.

    The views are those that a logistic head learns from, so that a value, too, is read off an embedding without its
    room and a part of its speaker.

    Args:
        embeddings: ``float32[n, dim]`` of what is spoken, then of augmented copies of the same.
        part: the utterances.
        recipe: names the values.

    Raises:
        UsageError: no clip has a value, or all have the same.
    """
    targets = value_targets(part, recipe.labels, recipe.values)
    require_targets(targets, part, recipe.values)
    views = views_of(embeddings, part, len(recipe.labels), recipe.seed)
    lines = []
    for value, target in zip(recipe.values, targets.T, strict=True):
        known = ~np.isnan(target)
        mine = part.select(known)
        speaker = np.unique(mine.speakers, return_inverse=True)[1]
        line, correlation = fit_value([view[known] for view in views], target[known], speaker, speaker_weights(mine))
        if correlation is not None and correlation <= 0:
            logger.warning("%s cannot be told from the voice of speakers left out", value.name)
        lines.append(line)
    weight = np.stack([line.weight for line in lines]).astype(np.float32)
    return Readout(recipe.value_records, weight, np.array([line.bias for line in lines], np.float32))


def fit_value(
    views: Sequence[Matrix], target: Doubles, speaker: Integers, weights: Doubles
) -> tuple[Line, float | None]:
    """Return the line of one value, and how its least squares correlate with the target on speakers left out.

    Least squares draw estimates towards the mean: with correlation ``r`` to the target they have ``r`` times its
    deviation. For any given ``r`` the concordance ``2 r s t / (s² + t² + (m - n)²)`` (Lin 1989) of estimates with mean
    ``m`` and deviation ``s`` to a target with mean ``n`` and deviation ``t`` is largest at ``m = n`` and ``s = t``,
    where its derivative by ``s`` is zero and its value is ``r``. So the line is stretched until the estimates of
    speakers left out have the mean and deviation of the target. Where they do not correlate, or nobody can be left out,
    it stays as it is.

    Args:
        views: each ``float32[n, dim]``, the one first that the device will be nearest to.
        target: ``float64[n]``.
        speaker: of each utterance, ``int64[n]``.
        weights: of the utterances, ``float64[n]`` that sum to one.
    """
    fold = speaker % min(FOLDS, int(speaker.max()) + 1)
    sums = [_moments(views, target, weights * (fold == each)) for each in range(int(fold.max()) + 1)]
    whole = np.sum(sums, axis=0)
    if len(sums) == 1:
        return _ridge(whole, USUAL_PENALTY), None
    trials = []
    for penalty in PENALTIES:
        estimates = np.empty(len(target))
        for each, held in enumerate(sums):
            estimates[fold == each] = _ridge(whole - held, penalty).of(views[0][fold == each])
        trials.append((_correlation(estimates, target, weights), penalty, estimates))
    correlation, penalty, estimates = max(trials, key=lambda trial: trial[0])
    line = _ridge(whole, penalty)
    if correlation <= 0:
        return line, correlation
    (mean, deviation), (wanted, spread) = _spread(estimates, weights), _spread(target, weights)
    gain = spread / deviation
    return Line(gain * line.weight, wanted + gain * (line.bias - mean)), correlation


def speaker_weights(part: Part) -> Doubles:
    """Return weights that sum to one: a corpus as its recipe says, every speaker within it the same."""
    _, corpus = np.unique(part.corpora, return_inverse=True)
    names, speaker, clips = np.unique(part.speakers, return_inverse=True, return_counts=True)
    corpus_of = np.zeros(len(names), np.int64)
    corpus_of[speaker] = corpus
    share = np.array([part.weight_of(name) for name in part.corpora.tolist()])
    weights = share / (clips[speaker] * np.bincount(corpus_of)[corpus])
    return np.asarray(weights / weights.sum())


def _moments(views: Sequence[Matrix], target: Doubles, weights: Doubles) -> Doubles:
    """Return weighted sums of products of embedding, target and 1, ``float64[dim + 2, dim + 2]``, over all views."""
    rows = weights > 0
    total = np.zeros((views[0].shape[1] + 2,) * 2)
    for view in views:
        joined = np.column_stack([view[rows], target[rows], np.ones(int(rows.sum()))])
        total += (joined * weights[rows, None]).T @ joined
    return total


def _ridge(moments: Doubles, penalty: float) -> Line:
    """Return the line of least squared error plus ``penalty`` times the dimensions' mean variance times ``|weight|²``.

    Hoerl and Kennard (1970) in closed form, from sums; the bias is free.
    """
    means = moments[-1, :-1] / moments[-1, -1]
    covariance = moments[:-1, :-1] / moments[-1, -1] - np.outer(means, means)
    within, across = covariance[:-1, :-1], covariance[:-1, -1]
    ridge = penalty * max(float(np.trace(within)) / len(within), 1e-9)
    weight = np.linalg.solve(within + ridge * np.eye(len(within)), across)
    return Line(weight, float(means[-1] - weight @ means[:-1]))


def _spread(values: Doubles, weights: Doubles) -> tuple[float, float]:
    """Return weighted mean and standard deviation of ``float64[n]``."""
    mean = float(weights @ values)
    return mean, float(np.sqrt(weights @ (values - mean) ** 2))


def _correlation(estimates: Doubles, target: Doubles, weights: Doubles) -> float:
    """Return the weighted correlation (Pearson) of two ``float64[n]``; 0 where one does not vary."""
    (mean, deviation), (wanted, spread) = _spread(estimates, weights), _spread(target, weights)
    scatter = deviation * spread
    return float(weights @ ((estimates - mean) * (target - wanted))) / scatter if scatter > 1e-12 else 0.0
