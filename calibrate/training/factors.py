"""Labelled embeddings as a sum: a mean, an offset of each group, a shift of each label, and noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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
    """Fit ``float64[n, dim]`` by alternating least squares, utterances weighted as in ``Part.balanced_weights``.

    Args:
        z: embeddings.
        part: the same utterances.
        group: of each utterance, ``int64[n]``: its speaker, or its corpus.
        labels: how many there are.
    """
    weights = part.balanced_weights()
    members = np.eye(group.max() + 1)[group]
    label_weights = np.eye(labels)[part.labels] * weights[:, None]
    mean = weights @ z
    offsets, shifts = np.zeros((members.shape[1], z.shape[1])), np.zeros((labels, z.shape[1]))
    for _ in range(SWEEPS):
        shifts = label_weights.T @ (z - mean - offsets[group]) / np.maximum(label_weights.sum(0), 1e-12)[:, None]
        offsets = members.T @ (z - mean - shifts[part.labels]) / (members.sum(0) + 1)[:, None]
    return Factors(mean, offsets, shifts)
