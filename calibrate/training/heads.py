"""Heads: from pooled layers to an embedding, and from the embedding to labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor, nn

from calibrate.recipe import HeadRecipe
from edge.errors import UsageError

LEARNED_DEVIATION = 0.05
"""Of the learned speaker vectors before they learn: everyone starts as about the same."""


class LayerMix(nn.Module):
    """Combine pooled layers ``float32[batch, layers, width]``, means then deviations, to ``float32[batch, dim]``.

    ``concatenate`` puts them side by side; ``weighted`` sums them with softmax weights (SUPERB, Yang et al. 2021);
    ``last`` takes the last. ``mean`` pooling leaves the deviations out.
    """

    def __init__(self, layers: int, width: int, mix: str, pool: str = "statistics") -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers)) if mix == "weighted" else None
        self.first = layers - 1 if mix == "last" else 0
        self.width = width // 2 if pool == "mean" else width
        self.dim = self.width * (layers if mix == "concatenate" else 1)

    def forward(self, layers: Tensor) -> Tensor:
        """Return the combined vector."""
        layers = layers[:, self.first :, : self.width]
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

    def fit(self, features: Tensor, weights: Tensor | None = None) -> None:
        """Set the statistics from ``float32[utterances, dim]``, weighted by ``float32[utterances]`` that sum to one."""
        if weights is None:
            self.mean, deviation = features.mean(0), features.std(0, correction=0)
        else:
            self.mean = weights @ features
            deviation = (weights @ (features - self.mean).square()).sqrt()
        self.scale = 1 / (deviation + 1e-5)

    def forward(self, features: Tensor) -> Tensor:
        """Return standardised features."""
        return (features - self.mean) * self.scale


class SpeakerInput(nn.Module):
    """What a head knows about who speaks: a vector a speaker, learned or measured, through a dense layer.

    Args:
        recipe: says which, and its size.
        names: of the speakers, in the order of their rows; row -1, everyone else, is their mean.
        dim: of the features that the result is added to.
    """

    def __init__(self, recipe: HeadRecipe, names: Sequence[str], dim: int) -> None:
        super().__init__()
        self.names, self.scaled = tuple(names), recipe.scale_mfcc
        vectors = LEARNED_DEVIATION * torch.randn(len(names), recipe.speaker_dim)
        if recipe.speaker == "id":
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
        self.standardise = Standardise(recipe.speaker_dim)
        self.transform = nn.Linear(recipe.speaker_dim, dim)

    def measured(self, vectors: Tensor) -> None:
        """Set the vectors to what was measured, ``float32[speakers, speaker_dim]``."""
        with torch.no_grad():
            self.vectors.copy_(vectors)
            if self.scaled:
                self.standardise.fit(self.vectors)

    def of(self, vectors: Tensor) -> Tensor:
        """Return what is added for vectors ``float32[n, speaker_dim]``, as ``float32[n, dim]``."""
        return cast(Tensor, self.transform(self.standardise(vectors)))

    def forward(self, rows: Tensor) -> Tensor:
        """Return ``float32[batch, dim]`` for ``int64[batch]``."""
        return self.of(torch.cat([self.vectors, self.vectors.mean(0, keepdim=True)])[rows])


class Classifier(nn.Module):
    """Mix, standardise, embed, classify. The embedding ``z`` is what the bundle's encoder puts out.

    ``linear``, ``logistic``: ``z`` is the projection on the first principal components, fixed after ``fit``.
    ``dense``: ``z`` is dropout, dense, tanh of the features (Wagner et al. 2022, and report B), learned.
    ``stack``: ``z`` is dense, ReLU, dropout, batch normalisation, a few times over (report A), learned.
    ``output`` is the bundle's head.
    """

    def __init__(self, recipe: HeadRecipe, layers: int, width: int, labels: int, speakers: Sequence[str] = ()) -> None:
        super().__init__()
        self.mix = LayerMix(layers, width, recipe.mix, recipe.pool)
        self.standardise = Standardise(self.mix.dim)
        self.standardises = recipe.standardise
        self.speaker = SpeakerInput(recipe, speakers, self.mix.dim) if recipe.speaker != "none" else None
        self.linear, stacked = recipe.kind in ("linear", "logistic"), recipe.kind == "stack"
        self.favour = recipe.favour
        if self.linear and recipe.dim > self.mix.dim:
            raise UsageError(f"head.dim = {recipe.dim} exceeds the {self.mix.dim} features, so it has no components")
        sizes = (self.mix.dim, *recipe.hidden)
        self.hidden = nn.Sequential(
            *(part for pair in pairwise(sizes) for part in (nn.Linear(*pair), *_after_dense(pair[1], recipe.dropout)))
        )
        self.narrow = narrowed(sizes[-1], recipe.rank)
        self.project = nn.Linear(recipe.rank or sizes[-1], recipe.dim, bias=recipe.kind != "linear")
        self.project.requires_grad_(not self.linear)
        self.after = nn.Sequential(*_after_dense(recipe.dim, recipe.dropout)) if stacked else None
        self.dropout = nn.Dropout(0.0 if stacked else recipe.dropout)
        self.output = nn.Linear(recipe.dim, labels)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def fit(self, layers: Tensor, weights: Tensor | None = None) -> None:
        """Set standardisation and principal components.

        Args:
            layers: the training features ``float32[n, layers, width]``.
            weights: of the utterances, ``float32[n]`` that sum to one; None: all the same.
        """
        with torch.no_grad():
            mixed = self.mix(layers.to(self.standardise.mean.device))
            if self.standardises:
                self.standardise.fit(mixed, weights)
            if self.linear:
                features = self.standardise(mixed)
                components = principal_components(features, self.project.out_features, weights, self.favour)
                self.project.weight.copy_(components)
                if self.project.bias is not None:
                    self.project.bias.zero_()

    def rows_of(self, speakers: Iterable[str]) -> Tensor:
        """Return the rows ``int64[n]`` of these speakers among those that the head knows, -1 for anyone else."""
        return rows_of(self.speaker.names if self.speaker else (), speakers)

    def embed(self, layers: Tensor, speakers: Tensor | None = None) -> Tensor:
        """Return ``z`` as ``float32[batch, dim]``.

        Args:
            layers: ``float32[batch, layers, width]``.
            speakers: ``int64[batch]``, see ``rows_of``; None: nobody that the head knows.
        """
        features = self.features(layers)
        if self.speaker is not None:
            known = speakers if speakers is not None else torch.full((len(layers),), -1, device=layers.device)
            features = features + self.speaker(known)
        return self.embed_features(features)

    def features(self, layers: Tensor) -> Tensor:
        """Return mixed and standardised features ``float32[batch, features]``."""
        return cast(Tensor, self.standardise(self.mix(layers)))

    def embed_features(self, features: Tensor) -> Tensor:
        """Return ``z`` for features ``float32[batch, features]``, to which the speaker has been added."""
        if self.linear:
            return cast(Tensor, self.project(self.narrow(features)))
        if self.after is None:
            return cast(Tensor, self.project(self.narrow(self.dropout(features))).tanh())
        return cast(Tensor, self.after(self.project(self.hidden(features))))

    def forward(self, layers: Tensor, speakers: Tensor | None = None) -> Tensor:
        """Return logits ``float32[batch, labels]``, see ``embed``."""
        return self.answer(self.embed(layers, speakers))

    def answer(self, z: Tensor) -> Tensor:
        """Return logits ``float32[batch, labels]`` for embeddings ``float32[batch, dim]``."""
        return cast(Tensor, self.output(self.dropout(z)))


def narrowed(size: int, rank: int) -> nn.Module:
    """Return what stands before a dense layer on ``size`` features: with ``rank``, the first of two thin products."""
    return nn.Linear(size, rank, bias=False) if rank else nn.Identity()


def _after_dense(size: int, dropout: float) -> tuple[nn.Module, ...]:
    return nn.ReLU(), nn.Dropout(dropout), nn.BatchNorm1d(size)


def rows_of(names: Sequence[str], speakers: Iterable[str]) -> Tensor:
    """Return the place of each speaker among the names, ``int64[n]``, -1 for one who is not there."""
    places = {name: place for place, name in enumerate(names)}
    return torch.tensor([places.get(speaker, -1) for speaker in speakers], dtype=torch.int64)


def principal_components(features: Tensor, count: int, weights: Tensor | None = None, favour: float = 0.0) -> Tensor:
    """Return the first principal directions as rows, ``float32[count, dim]``, scaled to unit total variance per row.

    All share one scale, the root mean variance of those kept: their proportions carry over into ``z``, which keeps a
    weak component from weighing as much as a strong one (whitening cost a point of UA on validation speakers).

    Args:
        features: ``float32[n, dim]``, their means zero.
        count: of the directions.
        weights: of the rows, ``float32[n]`` that sum to one; None: all the same.
        favour: exponent of the variance that each direction is multiplied by.
    """
    matrix = features.cpu()
    rows = matrix / len(matrix) if weights is None else matrix * weights.cpu()[:, None]
    covariance = (rows.T @ matrix).double().numpy()
    last = len(covariance) - 1
    values, vectors = eigh(covariance, subset_by_index=(max(0, last - count + 1), last), overwrite_a=True)
    values, vectors = values[::-1], vectors[:, ::-1]
    gains = np.maximum(values, 0) ** favour
    scaled = vectors.T * (gains / np.sqrt((values * gains**2).mean()))[:, None]
    return torch.from_numpy(np.ascontiguousarray(scaled)).float()
