"""How alike the pooled numbers of two encoders are, on speech that neither was fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from calibrate.encoders.base import SpeechEncoder
from calibrate.encoders.batches import encode
from calibrate.encoders.pretrained import PooledEncoder
from edge.arrays import Matrix
from edge.audio import Waveform


class Likeness(NamedTuple):
    """Mean correlation over utterances, of what is pooled of one layer's states."""

    layer: int
    means: float
    deviations: float


def likeness(
    whole: SpeechEncoder, slim: SpeechEncoder, speech: Sequence[Waveform], pooled: Sequence[int], voiced_db: float
) -> list[Likeness]:
    """Return how alike two encoders are, layer by layer.

    Args:
        whole, slim: encoders of the same width.
        speech: two utterances or more, each ``float32[samples]``.
        pooled: the layers that a head would get.
        voiced_db: see ``PooledEncoder``.
    """
    shape = (len(speech), len(pooled), 2, whole.width)
    found = [_pooled(PooledEncoder(each, pooled, voiced_db), speech).reshape(shape) for each in (whole, slim)]
    correlations = _correlations(*found).mean(axis=2)
    return [Likeness(layer, *map(float, row)) for layer, row in zip(pooled, correlations, strict=True)]


def _pooled(encoder: PooledEncoder, speech: Sequence[Waveform]) -> Matrix:
    return np.concatenate([encode(encoder.eval(), [waveform]) for waveform in speech])


def _correlations(found: Matrix, expected: Matrix) -> Matrix:
    """Return the correlation over the first axis, of every number behind it; 0 of what never changes."""
    found, expected = found - found.mean(axis=0), expected - expected.mean(axis=0)
    norms = np.sqrt((found**2).sum(axis=0) * (expected**2).sum(axis=0))
    products: Matrix = (found * expected).sum(axis=0)
    correlations: Matrix = np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
    return correlations
