"""The cohort of a bundle: voiceprints of many people, whom scores of enrolled people are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from edge.arrays import Matrix, unit
from edge.errors import ModelError

COHORT_NAME = "cohort.safetensors"


def save_cohort(path: Path, prints: Matrix) -> None:
    """Write ``float32[voices, dim]`` as float16."""
    save_file({"prints": prints.astype(np.float16)}, path)
    path.chmod(0o644)


def load_cohort(path: Path, dim: int) -> Matrix:
    """Return ``float32[voices, dim]`` of unit length.

    Raises:
        ModelError: the file cannot be read, or holds no voiceprints of this size.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    prints = tensors.get("prints")
    if prints is None or prints.ndim != 2 or prints.shape[1] != dim or not len(prints) or not np.isfinite(prints).all():
        found = "missing" if prints is None else f"{prints.shape}, or not finite"
        raise ModelError(f"{path}: prints must be (voices, {dim}) and finite; it is {found}")
    return unit(prints.astype(np.float32))
