"""Linear layers fitted to speech: to what their output lacks, and to fewer inputs."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-2
"""Of a layer's weights, towards what they were, times the mean square of an input."""
JITTER = 1e-4
"""The same where inputs go and the others take over, so that what nearly depends on others can be told from them."""


class Moments:
    """What is to be known of a linear layer's inputs on some speech, and of what its output lacks.

    A constant stands behind the inputs, so that the bias is one of the weights: ``float64[outputs, inputs + 1]``.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.inputs = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64)
        self.lacking = torch.zeros(outputs, inputs + 1, dtype=torch.float64)
        self.rows = 0

    def add(self, inputs: Tensor, lacking: Tensor) -> None:
        """Count ``float32[rows, inputs]`` and what the outputs for them lack, ``float32[rows, outputs]``."""
        known = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
        self.inputs += known.T @ known
        self.lacking += lacking.T @ known
        self.rows += len(inputs)

    def fitted(self, weights: Tensor) -> Tensor:
        """Return the weights whose output lacks least, by ridge regression."""
        change: Tensor = self.lacking @ torch.linalg.inv(_damped(self.inputs, RIDGE))
        return weights + change

    def kept(self, weights: Tensor, groups: Tensor, count: int) -> list[int]:
        """Return which groups of inputs to keep, ascending: those without which the others make up for least.

        One goes after the other, each time the one that costs the output least if the weights of all others are then
        fitted anew: optimal brain surgeon (Hassibi and Stork 1993) on a layer's output, in groups as in ZipLM
        (Kurtic et al. 2023, equations 2 and 3).

        Args:
            weights: of the layer.
            groups: ``int64[groups, size]``, inputs that go together.
            count: of the groups to keep.
        """
        mean = self.inputs[:-1, -1] / self.rows
        inverse = torch.linalg.inv(_damped(self.inputs[:-1, :-1] / self.rows - torch.outer(mean, mean), JITTER))
        weights = weights[:, :-1].clone()
        gone = torch.zeros(len(groups), dtype=torch.bool)
        unit = torch.eye(groups.shape[1], dtype=torch.float64)
        for _ in range(len(groups) - count):
            own = torch.where(gone[:, None, None], unit, inverse[groups[:, :, None], groups[:, None, :]])
            away = weights[:, groups].permute(1, 2, 0)
            cost = (torch.linalg.solve(own, away) * away).sum((1, 2)).masked_fill(gone, torch.inf)
            least = int(cost.argmin())
            columns, undo = groups[least], torch.linalg.inv(own[least])
            weights -= weights[:, columns] @ undo @ inverse[columns]
            inverse -= inverse[:, columns] @ undo @ inverse[columns]
            weights[:, columns] = inverse[columns] = inverse[:, columns] = 0.0
            gone[least] = True
        return torch.nonzero(~gone)[:, 0].tolist()

    def taken_over(self, weights: Tensor, columns: Tensor) -> Tensor:
        """Return weights of some inputs alone, ``float64[outputs, columns + 1]``, that answer as all did."""
        columns = torch.cat([columns, torch.tensor([len(self.inputs) - 1])])
        among = self.inputs[columns][:, columns]
        short = weights @ self.inputs[:, columns] - weights[:, columns] @ among
        change: Tensor = short @ torch.linalg.inv(_damped(among, JITTER))
        return weights[:, columns] + change


def _damped(moments: Tensor, share: float) -> Tensor:
    """Return moments ``float64[n, n]`` with a share of their mean square added to the diagonal."""
    diagonal = moments.diagonal()
    return moments + torch.diag_embed((share * diagonal.mean()).clamp(min=1e-12).expand(len(diagonal)))
