"""A cache on disk: what is slow to compute, in files that are named by what it was computed from."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edge.bundle import sha256_of
from edge.files import new_file

Arrays = dict[str, Any]
"""Each an array of numbers or strings."""


def key_of(*described: object) -> str:
    """Return a short name for a result: a hash of all that it depends on."""
    return hashlib.sha256(json.dumps(described, default=str).encode()).hexdigest()[:16]


def cached_arrays(folder: Path, kind: str, described: object, compute: Callable[[], Arrays]) -> Arrays:
    """Return arrays from the cache, or compute and keep them.

    Args:
        folder: of the cache.
        kind: what they are, the beginning of the file's name.
        described: all that they depend on.
        compute: called where there is no file, or a damaged one.
    """
    path = folder / f"{kind}-{key_of(described)}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        arrays = compute()
    folder.mkdir(parents=True, exist_ok=True)
    with new_file(path) as new:
        np.savez(new, **arrays)
    return arrays


def is_intact(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> bool:
    """Return whether an ``.npy`` file holds all of an array of this type and shape."""
    try:
        # Reading refuses a file shorter than its header says, which opening for writing would fill with zeros.
        array = np.lib.format.open_memmap(path, "r")
    except (OSError, ValueError):
        return False
    return array.dtype == dtype and array.shape == shape


def content_of(path: Path) -> str:
    """Return the SHA-256 of a file's content; nothing for a missing file.

    A copy of a corpus, or a checkout that is new, finds what was computed for the old one.
    """
    try:
        status = path.stat()
        return _content(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return ""


@cache
def _content(path: Path, size: int, written_ns: int) -> str:
    """Return the hash of a file's content, read once while size and time stay as they are."""
    return sha256_of(path)


def weights_sha256(module: torch.nn.Module) -> str:
    """Return the hexadecimal SHA-256 of a module's weights, with their names and shapes."""
    weights = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        weights.update(f"{name}{tuple(tensor.shape)}".encode())
        weights.update(tensor.cpu().contiguous().numpy().data)
    return weights.hexdigest()
