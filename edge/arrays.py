"""Arrays by what they hold, and the one thing that is done to all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
"""Embeddings, voiceprints, weights and probabilities."""
Doubles = npt.NDArray[np.float64]
"""What is computed with on the way to them."""


def unit(vectors: Matrix) -> Matrix:
    """Return vectors of unit length along the last axis; zero stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Matrix = (vectors / np.maximum(norms, 1e-9)).astype(np.float32)
    return scaled
