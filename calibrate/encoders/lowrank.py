"""Low-rank adapters: an encoder learns a small change to its matrices, which is then merged into them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edge.errors import UsageError

SCALE = 16.0
"""Numerator of the factor on a change, which is this over its rank: the rank then hardly moves the best rate."""


class LowRank(nn.Module):
    """A matrix plus ``B A`` times ``SCALE / rank`` (LoRA, Hu et al. 2022, equation 3); the sum starts as the matrix."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.scale = SCALE / rank
        self.a = nn.Parameter(torch.empty(rank, columns))
        self.b = nn.Parameter(torch.zeros(rows, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed ``float32[rows, columns]``."""
        return weight + self.scale * (self.b @ self.a)


def add_adapters(layers: nn.Module, rank: int) -> None:
    """Freeze the layers and let a change of this rank to each of their dense matrices learn instead.

    They become parametrisations of ``nn.Linear.weight``, which also reach attention that reads the weight itself.

    Raises:
        UsageError: the layers have no dense matrix.
    """
    layers.requires_grad_(False)
    matrices = [module for module in layers.modules() if isinstance(module, nn.Linear)]
    if not matrices:
        raise UsageError("finetune.rank changes dense matrices, and these layers have none; set it to 0")
    for matrix in matrices:
        rows, columns = matrix.weight.shape
        adapter = LowRank(rows, columns, min(rank, rows, columns)).to(matrix.weight.device)
        parametrize.register_parametrization(matrix, "weight", adapter)


def merge_adapters(layers: nn.Module) -> None:
    """Put each change into its matrix, so that the layers have the shapes and names they had without adapters."""
    for module in list(layers.modules()):
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
