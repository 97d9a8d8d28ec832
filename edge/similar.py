"""Similar speakers: those of the training speakers whose voices are nearest to a new one."""

from __future__ import annotations

import numpy as np

from edge.arrays import Integers, Matrix

SIMILAR_SPEAKERS = 15
"""That stand in for a new one (k of PLDC)."""


def similar_speakers(offsets: Matrix, offset: Matrix, count: int = SIMILAR_SPEAKERS) -> Integers:
    """Return the rows of ``float32[speakers, dim]`` nearest to ``float32[dim]`` by cosine, ``int64[count]``."""
    return np.argsort(-cosines(offsets, offset), kind="stable")[:count]


def cosines(offsets: Matrix, offset: Matrix) -> Matrix:
    """Return the cosine ``float32[speakers]`` of each row of ``float32[speakers, dim]`` with ``float32[dim]``."""
    lengths = np.linalg.norm(offsets, axis=1) * np.linalg.norm(offset)
    return np.asarray(offsets @ offset / np.maximum(lengths, 1e-12), np.float32)
