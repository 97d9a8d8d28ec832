"""Calls at each length and batch size, in turn: what disturbs the machine for a while disturbs all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from edge.audio import SAMPLE_RATE_HZ
from edge.profiling.measurements import Part, Progress, Row, rounded

BUDGET_S = 0.15
"""Time for one call's repeats in one round."""
MOST_REPEATS = 30

Cell = tuple[int, int]
"""Samples and batch size."""
Stages = dict[str, float]
"""Stage to milliseconds."""
Rounds = list[list[float]]
"""Milliseconds, by the round that they were measured in."""
Key = TypeVar("Key", bound=Hashable)


def measure_in_turn(
    calls: Mapping[Key, Callable[[], Stages]], what: str, rounds: int, progress: Progress, least_repeats: int = 1
) -> dict[Key, dict[str, Rounds]]:
    """Return what each call measured, by stage and round.

    Args:
        calls: each measures its stages once.
        what: is measured, for the progress.
        rounds: over all calls in turn.
        progress: takes a line about each round.
        least_repeats: of a call in a round, however long it takes.
    """
    repeats = {key: _repeats(call, least_repeats) for key, call in calls.items()}
    found: dict[Key, dict[str, Rounds]] = {key: {} for key in calls}
    for number in range(rounds):
        progress(f"{what}, round {number + 1} of {rounds}")
        for key, call in calls.items():
            samples_ms = [call() for _ in range(repeats[key])]
            for stage in samples_ms[0]:
                found[key].setdefault(stage, []).append([stages[stage] for stages in samples_ms])
    return found


def cell_row(part: Part, stage: str, cell: Cell, rounds_ms: Rounds) -> Row:
    """Return the row of a stage at one length and batch size."""
    samples, batch = cell
    return Row(
        part=part,
        stage=stage,
        bucket_s=samples / SAMPLE_RATE_HZ,
        batch=batch,
        audio_s=samples / SAMPLE_RATE_HZ * batch * sum(map(len, rounds_ms)),
        rounds=tuple(map(rounded, rounds_ms)),
    )


def _repeats(call: Callable[[], Stages], least: int) -> int:
    """Return how often a call fits into the budget; the first call warms up, and shows whether a second is worth it."""
    for _ in range(2):
        started_s = time.perf_counter()
        call()
        fit = int(BUDGET_S / (time.perf_counter() - started_s))
        if fit < least:
            return least
    return min(fit, MOST_REPEATS)
