"""What a draw found, kept by speaker, so that an interval can draw speakers anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from calibrate.bootstrap import LEVEL, drawn_counts
from calibrate.speakers.trials import Mask, Rows
from edge.arrays import Doubles, percentile_interval

BOOTSTRAP_DRAWS = 200


class Sample(Protocol):
    """A figure of one draw."""

    def values(self, weights: Doubles) -> Doubles:
        """Return it for ``float64[draws, speakers]``, how often each speaker counts; not a number without trials."""


@dataclass(frozen=True)
class Trials:
    """Scores of tests against people; its figure is the equal error rate."""

    scores: Doubles
    """``float64[trials]``"""
    people: Rows
    """Index of the speaker who is enrolled."""
    testers: Rows
    """Index of the speaker of the test."""

    def values(self, weights: Doubles) -> Doubles:
        """See ``Sample``. A speaker who is drawn twice is no impostor of themselves."""
        order = np.argsort(-self.scores, kind="stable")
        people, testers = self.people[order], self.testers[order]
        is_same = people == testers
        same = np.where(is_same, weights[:, people], 0.0)
        different = np.where(is_same, 0.0, weights[:, people] * weights[:, testers])
        return np.array([_equal_error_rate(*each) for each in zip(same, different, strict=True)])


def _equal_error_rate(same: Doubles, different: Doubles) -> float:
    """Return the rate at which as many targets are refused as others accepted; NaN when there are none of either.

    Args:
        same: weight of each target, the highest score first, ``float64[trials]``.
        different: of each impostor.
    """
    if not (same.any() and different.any()):
        return float("nan")
    refused = 1 - np.cumsum(same) / same.sum()
    accepted = np.cumsum(different) / different.sum()
    at = np.abs(refused - accepted).argmin()
    return float((refused[at] + accepted[at]) / 2)


def equal_error_rate(scores: Doubles, is_same: Mask) -> float:
    """Return the equal error rate of trials that all count the same."""
    trials = Trials(scores, np.zeros(len(scores), np.int64), np.where(is_same, 0, 1))
    return float(trials.values(np.ones((1, 2)))[0])


@dataclass(frozen=True)
class Share:
    """A share of utterances, by their speaker."""

    hits: Doubles
    """``float64[speakers]``"""
    counts: Doubles

    @classmethod
    def of(cls, outcomes: Iterable[tuple[str, bool]], speakers: Mapping[str, int]) -> Share:
        """Return the share of outcomes that are true; each comes with its speaker."""
        listed = list(outcomes)
        hits, counts = Counter(name for name, hit in listed if hit), Counter(name for name, _ in listed)
        return cls(*(np.array([each[name] for name in speakers], np.float64) for each in (hits, counts)))

    def values(self, weights: Doubles) -> Doubles:
        """See ``Sample``."""
        hits, counts = weights @ self.hits, weights @ self.counts
        return _ratio(hits, counts)


def mean_of(samples: Sequence[Sample], speakers: int) -> float:
    """Return the mean over draws."""
    return float(_mean(samples, np.ones((1, speakers)))[0])


def interval_of(samples: Sequence[Sample], speakers: int) -> tuple[float, float]:
    """Return the interval of the mean over draws, from a bootstrap over a corpus's speakers."""
    means = _mean(samples, drawn_counts(speakers, BOOTSTRAP_DRAWS).astype(np.float64))
    known = means[np.isfinite(means)]
    return percentile_interval(known, LEVEL) if len(known) else (float("nan"), float("nan"))


def _mean(samples: Sequence[Sample], weights: Doubles) -> Doubles:
    values = np.stack([sample.values(weights) for sample in samples])
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def _ratio(parts: Doubles, wholes: Doubles) -> Doubles:
    """Return the quotients; not a number where there is no whole."""
    return np.where(wholes > 0, parts / np.where(wholes > 0, wholes, 1.0), np.nan)
