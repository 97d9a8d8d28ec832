"""Arrays by what they hold, and what is computed with them in more than one place."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Float = TypeVar("Float", np.float32, np.float64)

Matrix = npt.NDArray[np.float32]
"""Embeddings, voiceprints, weights and probabilities."""
Doubles = npt.NDArray[np.float64]
"""What is computed with on the way to them."""
Integers = npt.NDArray[np.int64]
"""Counts, lengths and indices."""


def unit(vectors: Matrix) -> Matrix:
    """Return vectors of unit length along the last axis; zero stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Matrix = (vectors / np.maximum(norms, 1e-9)).astype(np.float32)
    return scaled


def softmax(logits: npt.NDArray[Float]) -> npt.NDArray[Float]:
    """Return probabilities along the last axis; the largest logit is subtracted first, so that none overflows."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: npt.NDArray[Float] = exponents / exponents.sum(axis=-1, keepdims=True)
    return shares


def percentile_interval(draws: Doubles, level: float) -> tuple[float, float]:
    """Return the interval that holds ``level`` of bootstrap draws ``float64[n]``, as much outside on either side.

    The percentile method of Efron (1979).
    """
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high
