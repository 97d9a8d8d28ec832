"""Bootstrap over speakers: clips of one speaker are not independent, so the speaker is what is drawn (Efron 1979)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.arrays import Doubles, Integers, percentile_interval

Bools = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]
Interval = tuple[float, float]

LEVEL = 0.95
"""Of every interval."""
UNKNOWN: Interval = (math.nan, math.nan)
"""The interval over one speaker."""
SCATTER = 1e-15
"""Variance below which numbers are all the same."""
MEAN_DRAWS = 20_000
UA_DRAWS = 2_000


def drawn_counts(speakers: int, draws: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return how often each speaker is drawn, ``int64[draws, speakers]``: as many as there are, with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(speakers, np.full(speakers, 1 / speakers), size=draws)


def mean_interval(values: Doubles, seed: int = 0) -> tuple[float, float]:
    """Return the interval of the mean of ``float64[speakers]``, ``UNKNOWN`` for one speaker."""
    if len(values) < 2:
        return UNKNOWN
    rng = np.random.default_rng(seed)
    return percentile_interval(values[rng.integers(len(values), size=(MEAN_DRAWS, len(values)))].mean(axis=1), LEVEL)


def mean_recall(hits: Doubles, counts: Doubles, weights: Doubles) -> Doubles:
    """Return the mean over streams of the mean recall over labels, ``float64[draws]``; what nobody says counts nothing.

    Args:
        hits: ``float64[streams, speakers, labels]`` utterances answered rightly.
        counts: of the same shape, all utterances.
        weights: ``float64[draws, speakers]``, how often each speaker is drawn.
    """
    right = np.einsum("ds,ksl->dkl", weights, hits)
    said = np.einsum("ds,ksl->dkl", weights, counts)
    recall = np.divide(right, said, out=np.zeros_like(right), where=said > 0)
    labels = (said > 0).sum(axis=2)
    ua = np.divide(recall.sum(axis=2), labels, out=np.zeros(labels.shape), where=labels > 0)
    return np.asarray(ua.sum(axis=1) / np.maximum((labels > 0).sum(axis=1), 1))


@dataclass(frozen=True)
class Tally:
    """Answers counted by stream (or draw), speaker and true label."""

    hits: Doubles
    """``float64[streams, speakers, labels]`` utterances answered rightly."""
    counts: Doubles
    """All utterances, of the same shape."""

    @classmethod
    def of(cls, right: Bools, labels: Integers, speakers: Names, streams: Integers | None = None) -> Tally:
        """Count utterances, each right or not, of a true label, by a speaker, in a stream (None: all in one)."""
        speaker = np.unique(speakers, return_inverse=True)[1]
        stream = np.zeros_like(speaker) if streams is None else np.unique(streams, return_inverse=True)[1]
        counts = np.zeros((int(stream.max()) + 1, int(speaker.max()) + 1, int(labels.max()) + 1))
        hits = np.zeros_like(counts)
        np.add.at(hits, (stream, speaker, labels), right)
        np.add.at(counts, (stream, speaker, labels), 1)
        return cls(hits, counts)

    @property
    def ua(self) -> float:
        """The mean over streams of the mean recall over the labels that are in the stream."""
        return float(mean_recall(self.hits, self.counts, np.ones((1, self.hits.shape[1])))[0])

    def draws(self, draws: int = UA_DRAWS, seed: int = 0) -> Doubles | None:
        """Return UA of as many draws of the speakers, ``float64[draws]``; None for one speaker, who has no interval."""
        count = self.hits.shape[1]
        if count < 2:
            return None
        return mean_recall(self.hits, self.counts, drawn_counts(count, draws, seed).astype(np.float64))

    def interval(self) -> Interval | None:
        """Return the interval of UA over speakers."""
        drawn = self.draws()
        return None if drawn is None else percentile_interval(drawn, LEVEL)

    def gain_interval(self, over: Tally) -> Interval | None:
        """Return the interval of what UA gains over other answers of the same speakers."""
        drawn, base = self.draws(), over.draws()
        return None if drawn is None or base is None else percentile_interval(drawn - base, LEVEL)


@dataclass(frozen=True)
class Agreement:
    """Estimates of a value beside the truth, summed by speaker."""

    sums: Doubles
    """``float64[speakers, 6]``: clips, estimates, truths, squares of either, and products."""

    @classmethod
    def of(cls, estimated: Doubles, true: Doubles, speakers: Names) -> Agreement:
        """Sum ``float64[clips]`` of either."""
        names, speaker = np.unique(speakers, return_inverse=True)
        # Around the mean, so that the squares do not drown what differs.
        mean = float(true.mean())
        p, t = estimated - mean, true - mean
        sums = np.zeros((len(names), 6))
        np.add.at(sums, speaker, np.stack([np.ones_like(p), p, t, p * p, t * t, p * t], axis=1))
        return cls(sums)

    @property
    def ccc(self) -> float:
        """Concordance of all clips, see ``concordance_and_correlation``."""
        return float(concordance_and_correlation(self.sums.sum(axis=0, keepdims=True))[0][0])

    @property
    def r(self) -> float:
        """Correlation of all clips."""
        return float(concordance_and_correlation(self.sums.sum(axis=0, keepdims=True))[1][0])

    def intervals(self, seed: int = 0) -> tuple[Interval, Interval] | None:
        """Return the intervals of concordance and correlation over speakers; None for one speaker."""
        count = len(self.sums)
        if count < 2:
            return None
        ccc, r = concordance_and_correlation(drawn_counts(count, UA_DRAWS, seed) @ self.sums)
        return percentile_interval(ccc, LEVEL), percentile_interval(r, LEVEL)


def concordance_and_correlation(sums: Doubles) -> tuple[Doubles, Doubles]:
    """Return concordance (Lin 1989) and correlation (Pearson), ``float64[n]`` each, for sums as in ``Agreement``.

    ``CCC = 2 cov / (var + var' + (mean - mean')²)``. 0 where one of the two does not vary.
    """
    count, p, t, pp, tt, pt = sums.T
    means = p / count, t / count
    variances = np.maximum(pp / count - means[0] ** 2, 0), np.maximum(tt / count - means[1] ** 2, 0)
    covariance = pt / count - means[0] * means[1]
    apart = variances[0] + variances[1] + (means[0] - means[1]) ** 2
    scatter = np.sqrt(variances[0] * variances[1])
    zero = np.zeros_like(covariance)
    return (
        np.divide(2 * covariance, apart, out=zero.copy(), where=apart > SCATTER),
        np.divide(covariance, scatter, out=zero.copy(), where=scatter > SCATTER),
    )


@dataclass(frozen=True)
class Estimate:
    """A share and the bootstrap draws of it; one speaker has none."""

    value: float
    draws: Doubles | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval over speakers."""
        return None if self.draws is None else percentile_interval(self.draws, LEVEL)

    def values(self) -> dict[str, Any]:
        """Return the estimate as JSON values."""
        return {"value": self.value, "interval": self.interval}

    def __sub__(self, other: Estimate) -> Estimate:
        """Return the difference, draw by draw."""
        draws = None if self.draws is None or other.draws is None else self.draws - other.draws
        return Estimate(self.value - other.value, draws)

    @classmethod
    def mean(cls, estimates: Sequence[Estimate]) -> Estimate:
        """Return the mean of estimates on different corpora, whose speakers are drawn independently."""
        draws = [each.draws for each in estimates if each.draws is not None]
        complete = draws and len(draws) == len(estimates)
        return cls(float(np.mean([each.value for each in estimates])), np.mean(draws, axis=0) if complete else None)
