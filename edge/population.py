"""The population: how the voices of the training speakers differ, shipped with every bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from edge.arrays import Matrix
from edge.errors import ModelError

POPULATION_NAME = "population.safetensors"
_OPTIONAL_SHAPES = {"value_means": ("speakers", "values"), "value_deviations": ("speakers", "values")}
_SHAPES = {
    "mean": ("dim",),
    "shifts": ("labels", "dim"),
    "offsets": ("speakers", "dim"),
    "label_shares": ("speakers", "labels"),
    "contrast": ("contrasts", "dim"),
    "head_prior": ("labels",),
}


@dataclass(frozen=True)
class Population:
    """A speaker factor model of the embedding, ``z = mean + u_speaker + shift_label + noise``."""

    labels: tuple[str, ...]
    """In the order of the head's outputs."""
    mean: Matrix
    """``float32[dim]``: every corpus, and every label within it, weighs the same."""
    shifts: Matrix
    """``float32[labels, dim]``: how a label moves the embedding away from ``mean``, whoever speaks."""
    offsets: Matrix
    """``float32[speakers, dim]``: ``u`` of the training speakers who showed several labels."""
    label_shares: Matrix
    """``float32[speakers, labels]``: how often each of them showed each label, rows summing to one."""
    contrast: Matrix
    """``float32[contrasts, dim]``: what rooms differ in, and neither labels nor voices. The training corpora are the
    rooms; their root mean square distance from all of them together is 1, or less where their own people stray far. No
    rows where there is one corpus only."""
    head_prior: Matrix
    """``float32[labels]``: how often the head takes each label to be shown, its mean answer to the training utterances
    as they weigh; sums to one."""
    value_means: Matrix | None = None
    """``float32[speakers, values]``: mean of each value over the clips of each of them, in its range; of a speaker
    without that value the mean over everyone's. None where the bundle answers no values."""
    value_deviations: Matrix | None = None
    """``float32[speakers, values]``: standard deviation, in the same way."""

    @classmethod
    def load(cls, path: Path, labels: Sequence[str], values: int = 0) -> Population:
        """Read a safetensors file; ``labels`` are the bundle's, in order, ``values`` how many values it answers.

        Raises:
            ModelError: the file cannot be read, lacks a tensor, or its shapes or values make no population.
        """
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: cannot be read: {error}") from None
        # Bundles of schema 1 that were made before it know of no other room.
        tensors.setdefault("contrast", np.zeros((0, tensors["mean"].size if "mean" in tensors else 0), np.float32))
        if "label_shares" in tensors:  # nor do some know what their head takes for usual
            tensors.setdefault("head_prior", tensors["label_shares"].mean(axis=0))
        shapes = _SHAPES | {name: axes for name, axes in _OPTIONAL_SHAPES.items() if name in tensors}
        _check(path, tensors, shapes, {"labels": len(labels), "values": values})
        return cls(tuple(labels), **{name: tensors[name].astype(np.float32) for name in shapes})

    def save(self, path: Path) -> None:
        """Write the safetensors file that ``load`` reads."""
        tensors = {name: getattr(self, name) for name in (*_SHAPES, *_OPTIONAL_SHAPES)}
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items() if tensor is not None}, path)


def _check(
    path: Path, tensors: Mapping[str, Matrix], shapes: Mapping[str, tuple[str, ...]], sizes: dict[str, int]
) -> None:
    missing = sorted(set(shapes) - set(tensors))
    if missing:
        raise ModelError(f"{path}: lacks {', '.join(missing)}")
    for name, axes in shapes.items():
        shape = tensors[name].shape
        if len(shape) != len(axes) or any(
            size != sizes.setdefault(axis, size) or not (size or axis == "contrasts")
            for axis, size in zip(axes, shape, strict=True)
        ):
            raise ModelError(f"{path}: {name} has shape {list(shape)}, which does not fit {sizes} as {list(axes)}")
        if not np.isfinite(tensors[name]).all():
            raise ModelError(f"{path}: {name} holds values that are not finite")
