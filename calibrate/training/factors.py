"""Labelled embeddings as a sum: a mean, an offset of each group, a shift of each label, and noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from calibrate.dataset import Part
from edge.arrays import Doubles, Integers

SWEEPS = 20


class Factors(NamedTuple):
    """``z = mean + offset_group + shift_label + noise``."""

    mean: Doubles
    """``float64[dim]``."""
    offsets: Doubles
    """``float64[groups, dim]``, shrunk by one utterance."""
    shifts: Doubles
    """``float64[labels, dim]``."""


def fit_factors(z: Doubles, part: Part, group: Integers, labels: int) -> Factors:
    """Fit ``float32[n, dim]`` or ``float64[n, dim]`` by alternating least squares, see ``Factors``.

    Utterances weigh as in ``Part.balanced_weights`` for mean and shifts, and the same for the offset of their group.

    Args:
        z: embeddings.
        part: the same utterances.
        group: of each utterance, ``int64[n]``: its speaker, or its corpus.
        labels: how many there are.
    """
    weights = part.balanced_weights()
    mean = weights @ z
    around = z - mean
    # Sums over the utterances of one group and label are all that the alternation needs.
    groups = int(group.max()) + 1
    cell = group * labels + part.labels
    counts, shares = (np.bincount(cell, each, groups * labels) for each in (None, weights))
    cells = csr_array((np.ones(len(cell)), (cell, np.arange(len(cell)))), shape=(groups * labels, len(cell)))
    sums, weighted = ((cells.multiply(each) @ around).reshape(groups, labels, -1) for each in (1.0, weights))
    counts, shares = counts.reshape(groups, labels, 1), shares.reshape(groups, labels, 1)
    offsets, shifts = np.zeros((groups, z.shape[1])), np.zeros((labels, z.shape[1]))
    for _ in range(SWEEPS):
        shifts = (weighted - shares * offsets[:, None]).sum(axis=0) / np.maximum(shares.sum(axis=0), 1e-12)
        offsets = (sums - counts * shifts).sum(axis=1) / (counts.sum(axis=1) + 1)
    return Factors(mean, offsets, shifts)
