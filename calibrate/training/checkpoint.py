"""What a training keeps: the weights that it will end with, and its whole state on disk."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from calibrate import processes
from calibrate.recipe import ScheduleRecipe
from edge.errors import ModelError
from edge.files import new_file


class KeptWeights:
    """The weights that are validated and that training ends with.

    They are the last ones, or a moving average over the steps (Polyak & Juditsky 1992; its first steps weigh more, so
    that it forgets where it started). With early stopping the best of these on validation speakers are kept aside.
    """

    def __init__(self, parameters: Sequence[Tensor], schedule: ScheduleRecipe) -> None:
        self.parameters, self.decay, self.keeps_best = list(parameters), schedule.average, schedule.stop_after > 0
        self.steps = 0
        self.average = self._copy() if self.decay else []
        self.best: list[Tensor] = []

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        if self.decay:
            self.steps += 1
            decay = min(self.decay, self.steps / (self.steps + 9))
            for mean, parameter in zip(self.average, self.parameters, strict=True):
                mean.lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in place of the last weights for a while."""
        last = self._copy() if self.decay else []
        self._put(self.average)
        yield
        self._put(last)

    def note_best(self) -> None:
        """Keep the weights that are in place aside, if they may be wanted."""
        if self.keeps_best:
            self.best = self._copy()

    def settle(self) -> None:
        """Put the kept weights in place for good."""
        self._put(self.best or self.average)

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept."""
        return {"steps": self.steps, "average": self.average, "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what was kept."""
        self.steps = state["steps"]
        device = self.parameters[0].device
        self.average, self.best = ([each.to(device) for each in state[name]] for name in ("average", "best"))

    def _copy(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def _put(self, weights: Sequence[Tensor]) -> None:
        for parameter, weight in zip(self.parameters, weights, strict=False):
            parameter.copy_(weight)


class Stateful(Protocol):
    """A module, an optimiser, or anything else with a state of its own."""

    def state_dict(self) -> Any:
        """Return the state."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Restore it."""


class Checkpoint:
    """The state of a training on disk, replaced as a whole after every round."""

    def __init__(self, path: Path, parts: Mapping[str, Stateful], rates: torch.optim.lr_scheduler.LambdaLR) -> None:
        self.path, self.parts, self.rates = path, parts, rates

    def save(self, rounds: int) -> None:
        """Write the state after this many rounds."""
        state = {
            "rounds": rounds,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "steps": self.rates.last_epoch,
            "random": torch.get_rng_state(),
        }
        if processes.is_main():
            with new_file(self.path) as new:
                torch.save(state, new)

    def load(self) -> int:
        """Restore the state and return the rounds it holds; 0 when there is no checkpoint."""
        state = processes.agree(self._read() if processes.is_main() else None)
        if state is None:
            return 0
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state["parts"][name])
            self.rates.last_epoch = state["steps"]
            torch.set_rng_state(state["random"])
            return int(state["rounds"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise self._refusal() from error

    def _read(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise self._refusal() from error
        return state

    def _refusal(self) -> ModelError:
        return ModelError(f"{self.path}: is no checkpoint of this recipe; train anew, without --resume")
