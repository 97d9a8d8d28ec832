"""The cohort of a bundle: voiceprints of many people, from which follows what score to expect of anyone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from edge.arrays import Doubles, Matrix, unit
from edge.errors import ModelError

COHORT_NAME = "cohort.safetensors"
NEAREST = 20
"""Voices of a cohort that count."""
OWN_SHARE = 0.6
"""Of what a person's own prints have in common, in the score that is expected; the cohort has the rest."""
TYPICAL_PRINTS = 7
"""So many prints say as much about a person as what is typical of everyone."""


@dataclass(frozen=True)
class Cohort:
    """Scores of two rooms, languages or ways to enrol are on one scale once what is to be expected is subtracted.

    That is part of how similar the voices of many people are (adaptive symmetric normalisation, Matejka et al. 2017, of
    the mean alone: dividing by the deviation was measured and is worse), and the greater part of how similar a person's
    own prints are to each other. All prints are compared less the cohort's mean.
    """

    prints: Matrix
    """``float32[voices, dim]`` of unit length, one each of many people."""
    typical: float
    """``own_likeness`` of ``TYPICAL_PRINTS`` prints, the mean over people."""

    def centred(self, prints: Matrix) -> Matrix:
        """Return prints ``float32[n, dim]`` less the cohort's mean, of unit length; all below takes such."""
        return unit(prints - self._centre)

    def expected_of_person(self, enrolled: Matrix) -> float:
        """Return the part of the expected score that a person's ``float32[n, dim]`` decide."""
        count = len(enrolled) if len(enrolled) > 1 else 0
        own = (count * own_likeness(enrolled) + TYPICAL_PRINTS * self.typical) / (count + TYPICAL_PRINTS)
        impostors = float(self._likeness(unit(enrolled.mean(axis=0))[None])[0])
        return OWN_SHARE * own + (1 - OWN_SHARE) / 2 * impostors

    def expected_of_prints(self, prints: Matrix) -> Doubles:
        """Return the part of the expected score that prints ``float32[n, dim]`` decide, ``float64[n]``."""
        return (1 - OWN_SHARE) / 2 * self._likeness(prints)

    @cached_property
    def _centre(self) -> Matrix:
        return np.asarray(self.prints.mean(axis=0), np.float32)

    @cached_property
    def _voices(self) -> Matrix:
        return self.centred(self.prints)

    def _likeness(self, prints: Matrix) -> Doubles:
        """Return the mean cosine with the most similar voices, ``float64[n]``."""
        count = min(NEAREST, len(self._voices))
        cosines = np.partition(prints @ self._voices.T, -count, axis=1)[:, -count:]
        return np.asarray(cosines.mean(axis=1), np.float64)


def own_likeness(prints: Matrix) -> float:
    """Return the mean cosine of each of a person's ``float32[n, dim]`` with the mean of the others; 0 of one print."""
    if len(prints) < 2:
        return 0.0
    return float((prints * unit(prints.sum(axis=0) - prints)).sum(axis=1).mean())


def save_cohort(path: Path, cohort: Cohort) -> None:
    """Write it, prints as float16."""
    typical = np.array([cohort.typical], np.float32)
    save_file({"prints": cohort.prints.astype(np.float16), "typical": typical}, path)
    path.chmod(0o644)


def load_cohort(path: Path, dim: int) -> Cohort:
    """Read what ``save_cohort`` wrote, of voiceprints ``float32[dim]``.

    Raises:
        ModelError: the file cannot be read, or holds no cohort of voiceprints of this size.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    prints, typical = tensors.get("prints"), tensors.get("typical")
    if prints is None or prints.ndim != 2 or prints.shape[1] != dim or not len(prints) or not np.isfinite(prints).all():
        found = "missing" if prints is None else f"{prints.shape}, or not finite"
        raise ModelError(f"{path}: prints must be (voices, {dim}) and finite; it is {found}")
    if typical is None or typical.shape != (1,) or not np.isfinite(typical).all():
        raise ModelError(f"{path}: typical must be one finite number; it is {typical}")
    return Cohort(unit(prints.astype(np.float32)), float(typical[0]))
