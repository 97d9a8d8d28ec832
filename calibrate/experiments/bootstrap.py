"""Bootstrap over speakers: clips of one speaker are not independent, so the speaker is what is drawn (Efron 1979)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.arrays import Doubles, percentile_interval

LEVEL = 0.95
"""Of every interval."""
MEAN_DRAWS = 20_000


def drawn_counts(speakers: int, draws: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return how often each speaker is drawn, ``int64[draws, speakers]``: as many as there are, with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(speakers, np.full(speakers, 1 / speakers), size=draws)


def mean_interval(values: Doubles, seed: int = 0) -> tuple[float, float]:
    """Return the interval of the mean of ``float64[speakers]``."""
    rng = np.random.default_rng(seed)
    return percentile_interval(values[rng.integers(len(values), size=(MEAN_DRAWS, len(values)))].mean(axis=1), LEVEL)
