"""The head: from embedding to calibrated label probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from edge.arrays import Matrix, softmax
from edge.errors import ModelError


@dataclass(frozen=True)
class Head:
    """Linear classifier with temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    ``probabilities = softmax((z @ weight.T + bias) / temperature)``.
    """

    weight: Matrix
    """``float32[labels, dim]``"""
    bias: Matrix
    """``float32[labels]``"""
    temperature: float

    @classmethod
    def load(cls, path: Path) -> Head:
        """Read a safetensors file.

        Raises:
            ModelError: the file cannot be read, lacks a tensor, or the shapes or values make no classifier.
        """
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: cannot be read: {error}") from None
        missing = {"weight", "bias", "temperature"} - set(tensors)
        if missing:
            raise ModelError(f"{path}: lacks {', '.join(sorted(missing))}")
        weight, bias, temperature = tensors["weight"], tensors["bias"], tensors["temperature"]
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or temperature.size != 1:
            shapes = {name: tensor.shape for name, tensor in tensors.items()}
            raise ModelError(f"{path}: shapes {shapes} do not fit weight[labels, dim], bias[labels], temperature[1]")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all() and 0 < temperature.item() < np.inf):
            raise ModelError(f"{path}: holds values that are not finite, or a temperature that is not positive")
        return cls(weight.astype(np.float32), bias.astype(np.float32), float(temperature.item()))

    def save(self, path: Path) -> None:
        """Write the safetensors file that ``load`` reads."""
        temperature = np.array([self.temperature], np.float32)
        save_file({"weight": self.weight, "bias": self.bias, "temperature": temperature}, path)

    def probabilities(self, embeddings: Matrix) -> Matrix:
        """Return ``float32[batch, labels]``, rows summing to one, for ``float32[batch, dim]``."""
        return softmax((embeddings @ self.weight.T + self.bias) / self.temperature)
