"""The head: from embedding to calibrated label probabilities, to values, and to whether it was speech at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from edge.arrays import Matrix, softmax
from edge.errors import ModelError
from edge.values import Readout, ValueRecord, readout_of

LEAST_SPEECH = 0.5
"""Probability of speech below which an utterance is taken for something else."""


@dataclass(frozen=True)
class SpeechCheck:
    """Tells speech from what else a voice activity detector takes for it: coughs, dogs, doors. Logistic regression."""

    weight: Matrix
    """``float32[dim]``"""
    bias: float

    def probability(self, embedding: Matrix) -> float:
        """Return the probability of speech, 0 to 1, for ``float32[dim]``, of which no room or person was taken out."""
        logit = float(embedding @ self.weight) + self.bias
        return 1 / (1 + math.exp(min(-logit, 700.0)))


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
    speech: SpeechCheck | None = None
    """None: the bundle takes whatever it hears for speech."""
    values: Readout | None = None
    """None: the bundle answers labels only."""

    @classmethod
    def load(cls, path: Path, values: Sequence[ValueRecord] = ()) -> Head:
        """Read a safetensors file; ``values`` are those that the manifest names, in order.

        Raises:
            ModelError: the file cannot be read, lacks a tensor, or the shapes or values make no classifier, or no
                read-out of these values.
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
        return cls(
            weight.astype(np.float32),
            bias.astype(np.float32),
            float(temperature.item()),
            _speech(path, tensors),
            readout_of(path, tensors, weight.shape[1], values),
        )

    def save(self, path: Path) -> None:
        """Write the safetensors file that ``load`` reads."""
        tensors = {
            "weight": self.weight,
            "bias": self.bias,
            "temperature": np.array([self.temperature], np.float32),
        }
        if self.speech:
            tensors |= {"speech_weight": self.speech.weight, "speech_bias": np.array([self.speech.bias], np.float32)}
        if self.values:
            tensors |= self.values.tensors
        save_file(tensors, path)

    def probabilities(self, embeddings: Matrix) -> Matrix:
        """Return ``float32[batch, labels]``, rows summing to one, for ``float32[batch, dim]``."""
        return softmax((embeddings @ self.weight.T + self.bias) / self.temperature)


def _speech(path: Path, tensors: Mapping[str, Matrix]) -> SpeechCheck | None:
    weight, bias = tensors.get("speech_weight"), tensors.get("speech_bias")
    if weight is None and bias is None:
        return None
    if weight is None or bias is None:
        raise ModelError(f"{path}: has one of speech_weight and speech_bias, which come together")
    if weight.shape != tensors["weight"].shape[1:] or bias.size != 1:
        raise ModelError(f"{path}: speech_weight of shape {weight.shape} does not fit weight {tensors['weight'].shape}")
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ModelError(f"{path}: speech_weight or speech_bias holds values that are not finite")
    return SpeechCheck(weight.astype(np.float32), float(bias.item()))
