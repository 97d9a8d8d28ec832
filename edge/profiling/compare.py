"""What has changed between two reports, and whether that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from edge.arrays import Doubles, percentile_interval
from edge.profiling.measurements import Key, Profile, Row

DRAWS = 1_000
LEVEL = 0.99
"""Of the intervals: strict, because a report has many rows."""
LEAST_ROUNDS = 5
"""Fewer on either side cannot separate a change from noise: with three, every eighth row would seem to have changed."""
CHUNK = 2_000_000
"""Samples drawn at a time, for the memory."""


class Verdict(str, Enum):
    """What a change means."""

    LESS = "less"
    MORE = "more"
    NOISE = "within noise"
    UNKNOWN = "too few"


@dataclass(frozen=True)
class Change:
    """One row, before and after."""

    old: Row
    new: Row
    difference: float
    """Of the medians, in the rows' unit."""
    low: float
    high: float
    """Interval of the difference."""
    verdict: Verdict

    @property
    def percent(self) -> float | None:
        """The difference in percent of the old median; None if that is zero."""
        old = self.old.quantile(0.5)
        return 100 * self.difference / old if old else None


@dataclass(frozen=True)
class Comparison:
    """Two reports side by side."""

    changes: tuple[Change, ...]
    only_old: tuple[Row, ...]
    only_new: tuple[Row, ...]
    warnings: tuple[str, ...]
    """Differences that are none of the code's: another machine, another model."""


def compare(old: Profile, new: Profile) -> Comparison:
    """Compare the rows that both reports have."""
    before, after = _by_key(old), _by_key(new)
    return Comparison(
        changes=tuple(change_of(before[key], row) for key, row in after.items() if key in before),
        only_old=tuple(row for key, row in before.items() if key not in after),
        only_new=tuple(row for key, row in after.items() if key not in before),
        warnings=tuple(_warnings(old, new)),
    )


def change_of(old: Row, new: Row) -> Change:
    """Return the change of one row."""
    difference = new.quantile(0.5) - old.quantile(0.5)
    before, after = rounds_of(old), rounds_of(new)
    # Seeds of their own, or equal samples would be resampled equally and never differ.
    low, high = percentile_interval(medians(after, seed=1) - medians(before, seed=2), LEVEL)
    # The bootstrap of few clusters is too narrow by this (Davison and Hinkley 1997, section 3.8).
    fewest = max(2, min(len(before), len(after)))
    wider = math.sqrt(fewest / (fewest - 1))
    low, high = difference + wider * (low - difference), difference + wider * (high - difference)
    if min(len(before), len(after)) < LEAST_ROUNDS:
        verdict = Verdict.UNKNOWN
    elif low <= 0 <= high:
        verdict = Verdict.NOISE
    else:
        verdict = Verdict.MORE if difference > 0 else Verdict.LESS
    return Change(old, new, difference, low, high, verdict)


def rounds_of(row: Row) -> Sequence[Sequence[float]]:
    """Return a row's rounds; those of a pipeline that ran less than five times are consecutive fifths.

    Fifths know how much a run varies within itself, and not from one run to the next.
    """
    if row.part != "pipeline" or len(row.rounds) >= LEAST_ROUNDS or row.n < LEAST_ROUNDS:
        return row.rounds
    return [part.tolist() for part in np.array_split(row.samples, LEAST_ROUNDS)]


def medians(rounds: Sequence[Sequence[float]], draws: int = DRAWS, seed: int = 0) -> Doubles:
    """Return ``float64[draws]``: medians of samples drawn again with replacement, rounds first and then within them.

    What disturbs a machine lasts longer than a sample, so samples of one round resemble one another, and resampling
    them alone would promise too much (the cluster bootstrap; Davison and Hinkley 1997).
    """
    kept = [samples for samples in rounds if samples]
    sizes = np.array([len(samples) for samples in kept])
    padded = np.full((len(kept), sizes.max()), np.nan)
    for row, samples in zip(padded, kept, strict=True):
        row[: len(samples)] = samples
    random = np.random.default_rng(seed)
    step = max(1, CHUNK // padded.size)
    parts = []
    for start in range(0, draws, step):
        count = min(step, draws - start)
        chosen = random.integers(len(kept), size=(count, len(kept)))
        positions = (random.random((count, *padded.shape)) * sizes[chosen][:, :, None]).astype(np.int64)
        drawn = padded[chosen[:, :, None], positions]
        drawn[np.arange(padded.shape[1]) >= sizes[chosen][:, :, None]] = np.nan
        parts.append(np.nanmedian(drawn.reshape(count, -1), axis=1))
    return np.concatenate(parts)


def _by_key(profile: Profile) -> dict[Key, Row]:
    return {row.key: row for row in profile.rows}


def _warnings(old: Profile, new: Profile) -> list[str]:
    pairs = {
        "mode": (old.mode, new.mode),
        "CPU": (old.machine.cpu, new.machine.cpu),
        "cores": (old.machine.cores, new.machine.cores),
        "governor": (old.machine.governor, new.machine.governor),
        "bundle": (f"{old.model.bundle} {old.model.version}", f"{new.model.bundle} {new.model.version}"),
        "encoder": (old.model.sha256[:12], new.model.sha256[:12]),
        "provider": (old.model.provider, new.model.provider),
        "threads": (old.model.threads, new.model.threads),
        "precision": (old.model.precision, new.model.precision),
        "recordings": (", ".join(old.audio), ", ".join(new.audio)),
    }
    versions = {
        name: (old.machine.versions.get(name), new.machine.versions.get(name))
        for name in old.machine.versions | new.machine.versions
    }
    return [f"{name}: {was} then, {now} now" for name, (was, now) in (pairs | versions).items() if was != now]
