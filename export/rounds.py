"""Rounds: tasks take turns, so that a machine that is busy for a while slows them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits

Task = Callable[[], object]
SETTLED_S = 0.05


@dataclass(frozen=True)
class RoundTimes:
    """What the timed runs of one task took."""

    values_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """The median."""
        return float(np.median(self.values_ms))

    @property
    def quartiles_ms(self) -> tuple[float, float]:
        """First and third quartile."""
        low, high = np.percentile(self.values_ms, [25, 75])
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.quartiles_ms
        return f"{digits(self.median_ms)} ({digits(low)} to {digits(high)})"

    def as_json(self) -> dict[str, object]:
        """Return every run beside what a table shows."""
        return {
            "median_ms": self.median_ms,
            "quartiles_ms": self.quartiles_ms,
            "n": len(self.values_ms),
            "values_ms": self.values_ms,
        }


def alternate(tasks: Mapping[str, Task], rounds: int, warm: int = 1) -> dict[str, RoundTimes]:
    """Time every task once a round; each round begins with another one, so that none always follows the same.

    Args:
        tasks: name to what is timed.
        rounds: timed runs of each task.
        warm: rounds before, which are not timed.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn, name in _turns(list(tasks), rounds, warm):
        elapsed_ms = _timed_ms(tasks[name])
        if turn >= 0:
            times[name].append(elapsed_ms)
    return {name: RoundTimes(tuple(values)) for name, values in times.items()}


def alternate_settled(tasks: Mapping[str, Task], rounds: int) -> tuple[dict[str, RoundTimes], dict[str, RoundTimes]]:
    """Do the same, and in every turn time a task's first run and one once it has settled.

    The first finds the caches full of what another task left there; then it runs for ``SETTLED_S``, until they
    are full of its own. A round before is not timed.
    """
    first: dict[str, list[float]] = {name: [] for name in tasks}
    settled: dict[str, list[float]] = {name: [] for name in tasks}
    for turn, name in _turns(list(tasks), rounds, warm=1):
        first_ms = _timed_ms(tasks[name])
        spent_ms = first_ms
        while spent_ms < SETTLED_S * 1e3:
            spent_ms += _timed_ms(tasks[name])
        settled_ms = _timed_ms(tasks[name])
        if turn >= 0:
            first[name].append(first_ms)
            settled[name].append(settled_ms)
    firsts, lasts = ({name: RoundTimes(tuple(values)) for name, values in each.items()} for each in (first, settled))
    return firsts, lasts


def _turns(names: Sequence[str], rounds: int, warm: int) -> Iterator[tuple[int, str]]:
    """Yield round and task; rounds below 0 are to warm up."""
    for turn in range(-warm, rounds):
        first = turn % max(1, len(names))
        for name in (*names[first:], *names[:first]):
            yield turn, name


def _timed_ms(task: Task) -> float:
    started_s = time.perf_counter()
    task()
    return (time.perf_counter() - started_s) * 1e3


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Let torch and BLAS use this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        torch.set_num_threads(before)


def digits(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
