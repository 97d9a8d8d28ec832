"""Heads: from pooled layers to an embedding, and from the embedding to labels."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from calibrate.recipe import HeadRecipe
from edge.errors import UsageError


class LayerMix(nn.Module):
    """Combine pooled layers ``float32[batch, layers, width]`` to ``float32[batch, dim]``.

    ``concatenate`` puts them side by side; ``weighted`` sums them with softmax weights (SUPERB, Yang et al. 2021).
    """

    def __init__(self, layers: int, width: int, mix: str) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers)) if mix == "weighted" else None
        self.dim = width if mix == "weighted" else layers * width

    def forward(self, layers: Tensor) -> Tensor:
        """Return the combined vector."""
        if self.weights is None:
            return layers.flatten(1)
        return torch.einsum("l,blw->bw", self.weights.softmax(0), layers)


class Standardise(nn.Module):
    """Shift and scale every feature to zero mean and unit variance over the training utterances."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def fit(self, features: Tensor) -> None:
        """Set the statistics from ``float32[utterances, dim]``."""
        self.mean = features.mean(0)
        self.scale = 1 / (features.std(0, correction=0) + 1e-5)

    def forward(self, features: Tensor) -> Tensor:
        """Return standardised features."""
        return (features - self.mean) * self.scale


class Classifier(nn.Module):
    """Mix, standardise, embed, classify. The embedding ``z`` is what the bundle's encoder puts out.

    ``linear``: ``z`` is the projection on the first principal components, fixed after ``fit``.
    ``dense``: ``z`` is dropout, dense, tanh of the features (Wagner et al. 2022, and report B), learned.
    ``output`` is the head for strangers; ``regulars``, where the recipe has it, that for enrolled people.
    """

    def __init__(self, recipe: HeadRecipe, layers: int, width: int, labels: int) -> None:
        super().__init__()
        self.mix = LayerMix(layers, width, recipe.mix)
        self.standardise = Standardise(self.mix.dim)
        self.linear = recipe.kind == "linear"
        if self.linear and recipe.dim > self.mix.dim:
            raise UsageError(f"head.dim = {recipe.dim} exceeds the {self.mix.dim} features, so it has no components")
        self.project = nn.Linear(self.mix.dim, recipe.dim, bias=not self.linear)
        self.project.requires_grad_(not self.linear)
        self.dropout = nn.Dropout(recipe.dropout)
        self.output = nn.Linear(recipe.dim, labels)
        self.regulars_share = recipe.regulars
        self.regulars = nn.Linear(recipe.dim, labels) if recipe.regulars else None
        for head in (self.output, self.regulars):
            if head is not None:
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)

    def fit(self, layers: Tensor) -> None:
        """Set standardisation and principal components from the training features ``float32[n, layers, width]``."""
        with torch.no_grad():
            mixed = self.mix(layers.to(self.standardise.mean.device))
            self.standardise.fit(mixed)
            if self.linear:
                components = principal_components(self.standardise(mixed), self.project.out_features)
                self.project.weight.copy_(components)

    def embed(self, layers: Tensor) -> Tensor:
        """Return ``z`` as ``float32[batch, dim]`` for ``float32[batch, layers, width]``."""
        features = self.standardise(self.mix(layers))
        if self.linear:
            return cast(Tensor, self.project(features))
        return cast(Tensor, self.project(self.dropout(features)).tanh())

    def forward(self, layers: Tensor) -> Tensor:
        """Return logits ``float32[batch, labels]``."""
        return cast(Tensor, self.output(self.dropout(self.embed(layers))))

    def both(self, z: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits ``float32[batch, labels]`` of both heads; the regulars' reads ``z`` without the speaker.

        Args:
            z: embeddings ``float32[batch, dim]``.
            speakers: ``int64[batch]``, who is heard.
        """
        strangers = self.output(self.dropout(z))
        if self.regulars is None:
            return strangers, None
        return strangers, self.regulars(self.dropout(without_speaker(z, speakers)))


def without_speaker(z: Tensor, speakers: Tensor) -> Tensor:
    """Subtract from ``float32[batch, dim]`` the offset of each of the ``int64[batch]`` speakers.

    Enrolment in small: the offset is what the speaker's other utterances in the batch show, shrunk by one utterance.
    Gradients flow through it, so that ``z`` learns to have telling means.
    """
    same = (speakers[:, None] == speakers).float().fill_diagonal_(0)
    apart = z - z.detach().mean(0)
    return z - same @ apart / (same.sum(1, keepdim=True) + 1)


def principal_components(features: Tensor, count: int) -> Tensor:
    """Return the first principal directions as rows, ``float32[count, dim]``, scaled to unit total variance per row.

    All share one scale, the root mean variance of those kept: their proportions carry over into ``z``, which keeps a
    weak component from weighing as much as a strong one (whitening cost a point of UA on validation speakers).
    """
    matrix: npt.NDArray[np.float64] = features.double().cpu().numpy()
    values, vectors = np.linalg.eigh(matrix.T @ matrix / len(matrix))
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    scaled = vectors.T / np.sqrt(values.mean())
    return torch.from_numpy(np.ascontiguousarray(scaled)).float()
