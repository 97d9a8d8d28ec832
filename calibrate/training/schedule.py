"""Learning rates: of which parameters, at which step, and what validation makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from calibrate.recipe import PretrainingRecipe, ScheduleRecipe


def parameter_groups(
    head: Sequence[nn.Parameter], learns: nn.Module | None, schedule: ScheduleRecipe
) -> list[dict[str, Any]]:
    """Return the optimiser's groups: the head, then each part of the encoder that learns, from the top down.

    Layers learn the slower the lower they are (Howard & Ruder 2018, section 3.2).
    """
    groups: list[dict[str, Any]] = [{"params": list(head), "lr": schedule.learning_rate}]
    if learns is not None:
        rate = schedule.encoder_learning_rate
        for part in reversed(list(learns.children())):
            groups.append({"params": [each for each in part.parameters() if each.requires_grad], "lr": rate})
            rate *= schedule.layer_decay
    return groups


class Plateau:
    """Validation losses seen so far, and what follows from them: slower learning, and the end of it.

    The rates fall to a tenth once more than ``patience`` evaluations in a row were not the best, as PyTorch's
    ``ReduceLROnPlateau`` counts; training ends after ``stop_after`` of them.
    """

    def __init__(self, patience: int, stop_after: int) -> None:
        self.patience, self.stop_after = patience, stop_after
        self.best, self.since_best, self.since_fall, self.falls = math.inf, 0, 0, 0

    def note(self, loss: float) -> bool:
        """Count an evaluation, and return whether it is the best so far."""
        if loss < self.best:
            self.best, self.since_best, self.since_fall = loss, 0, 0
            return True
        self.since_best += 1
        self.since_fall += 1
        if self.patience and self.since_fall > self.patience:
            self.falls, self.since_fall = self.falls + 1, 0
        return False

    @property
    def factor(self) -> float:
        """What the learning rates are multiplied by."""
        return float(0.1**self.falls)

    @property
    def ended(self) -> bool:
        """Whether training is over."""
        return 0 < self.stop_after <= self.since_best

    def state_dict(self) -> dict[str, float]:
        """Return the counts."""
        return {name: getattr(self, name) for name in ("best", "since_best", "since_fall", "falls")}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore the counts."""
        vars(self).update(state)


def rate_factor(schedule: ScheduleRecipe | PretrainingRecipe, steps: int, plateau: Plateau) -> Callable[[int], float]:
    """Return the factor on all learning rates by step: a linear warm-up, then the recipe's decay."""
    warm = max(1, round(steps * schedule.warmup))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm * plateau.factor
        if schedule.decay == "none":
            return plateau.factor
        way = (step - warm) / max(1, steps - warm)
        left = 1 - way if schedule.decay == "linear" else 0.5 * (1 + math.cos(math.pi * way))
        return left * plateau.factor

    return factor
