"""Speakers whose labels are in balance or not: which clips enrol, which are tested, and what each label weighs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from calibrate.dataset import Rows
from calibrate.streams import KINDS, SHARES, Kind
from edge.arrays import Doubles

MOST_ENROLLED = 16
"""Clips of an enrolment."""
LEAST_TESTED = 1
"""Clips of every label that are left to be tested."""
LEAST_CLIPS = LEAST_TESTED + 1
"""Of each label of a speaker who takes part."""


@dataclass(frozen=True)
class Draw:
    """One enrolment of a speaker with such labels, and how their other clips weigh."""

    kind: Kind
    raised: int
    """The label that is more frequent; -1 where they are in balance."""
    seed: int
    shares: Doubles
    """``float64[labels]``: how often the speaker shows each label, in the enrolment and in the test."""
    enrolled: Rows
    tested: Rows


def draws(labels: Rows, count: int, speaker: str, seeds: int) -> Iterator[Draw]:
    """Draw enrolments of one speaker: balanced ones, and with each of their labels raised to each share.

    There are as many clips as leave ``LEAST_TESTED`` of every label, at most ``MOST_ENROLLED``. All other clips are
    tested, whatever their labels; ``weights_of`` brings these to the same shares, which no resampling does exactly.

    Args:
        labels: ``int64[clips]``, of the speaker's clips; at least ``LEAST_CLIPS`` of each that occurs.
        count: labels there are.
        speaker: whose clips are drawn alike in every experiment.
        seeds: draws of each kind and raised label.
    """
    present, counts = np.unique(labels, return_counts=True)
    for kind in KINDS:
        for raised in [-1] if kind == "balanced" else present.tolist():
            shares = np.full(len(present), 1 / len(present))
            if kind != "balanced":
                shares = np.where(present == raised, SHARES[kind], (1 - SHARES[kind]) / (len(present) - 1))
            total = min(MOST_ENROLLED, *((counts - LEAST_TESTED) / shares).astype(int).tolist())
            for seed in range(seeds):
                rng = np.random.default_rng([seed, raised + 1, KINDS.index(kind), zlib.crc32(speaker.encode())])
                wanted = _whole(shares * max(total, 1), rng)
                pools = [rng.permutation(np.flatnonzero(labels == label)) for label in present]
                enrolled = np.concatenate([pool[:number] for pool, number in zip(pools, wanted, strict=True)])
                tested = np.setdiff1d(np.arange(len(labels)), enrolled)
                whole = np.zeros(count)
                whole[present] = shares
                yield Draw(kind, raised, seed, whole, enrolled, tested)


def _whole(expected: Doubles, rng: np.random.Generator) -> Rows:
    """Return whole numbers ``int64[n]`` of the same sum, rounded, that are as expected in the mean over many draws."""
    whole = np.floor(expected).astype(np.int64)
    rest = expected - whole
    missing = round(float(rest.sum()))
    if missing:
        whole[rng.choice(len(rest), missing, replace=False, p=rest / rest.sum())] += 1
    return whole


def weights_of(draw: Draw, labels: Rows) -> Doubles:
    """Return what each tested clip weighs, ``float64[tested]``, summing to one; ``labels`` are of all clips."""
    tested = labels[draw.tested]
    counts = np.bincount(tested, minlength=len(draw.shares))
    return np.asarray(draw.shares[tested] / counts[tested])
