"""A fresh `affectd run`: how long until its first answer, and how much memory it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, read_audio
from edge.bundle import Bundle
from edge.errors import ModelError
from edge.settings.load import ENV_PREFIX
from export.example_conversation import CONVERSATION
from export.measure.plan import Plan, label
from export.measure.report import Section, Table, Target
from export.rounds import alternate

FAST, REAL_TIME = "as fast as it is analysed", "in real time"
OPTIONS = {FAST: "--fast", REAL_TIME: "--realtime"}
REAL_TIME_ROUNDS = 2
"""A round takes as long as the recording."""
LONGEST_S = 1.5
MOST_MB = 150.0
HEADER = ("bundle", "played", "ready, s", "first utterance, s", "all, s", "processor, s", "peak MB", "n")
NOTES = """\
`affectd run --source {name} --json` in a process of its own, without a settings file and with nobody enrolled, its
files in the page cache. Seconds are from before the process is made until a line of its is read from a pipe: *ready*
is that status, *first utterance* the first final answer; *all* is the end of the process, after all {duration_s:.1f} s
of the recording. Played as fast as it is analysed (`--fast`) nothing waits for a clock, so the cold start is the first
utterance of those rows; in real time (`--realtime`, the default) it cannot come before it was spoken and its pause has
passed. *Processor* is the time of all threads. *Peak* is the resident memory of the process at its largest, libraries
and files that are mapped included, in MiB: the largest of all its runs."""


@dataclass(frozen=True)
class FreshRun:
    """What one process took."""

    ready_s: float
    first_utterance_s: float
    end_s: float
    cpu_s: float
    peak_mb: float


def measure(plan: Plan) -> Section:
    """Play the example conversation to fresh processes, the bundles in turn."""
    runs: dict[tuple[str, str], list[FreshRun]] = {}
    with tempfile.TemporaryDirectory(prefix="affectd-bench-") as folder:
        player = Player(Path(folder))
        player.rounds(plan.bundles, FAST, 1)
        for played in (FAST,) if plan.quick else (FAST, REAL_TIME):
            count = plan.rounds if played == FAST else min(plan.rounds, REAL_TIME_ROUNDS)
            for name, found in player.rounds(plan.bundles, played, count).items():
                runs[name, played] = found
    figures = [
        {"bundle": name, "played": played, "runs": [asdict(run) for run in found]}
        for (name, played), found in runs.items()
    ]
    notes = NOTES.format(name=CONVERSATION.name, duration_s=len(read_audio(CONVERSATION)) / SAMPLE_RATE_HZ)
    table = Table("Fresh processes", HEADER, [_row(*key, found) for key, found in runs.items()])
    return Section("Cold start and memory", notes, [table], {"fresh": figures}, _targets(plan.bundles[0], runs))


class Player:
    """Plays the example conversation to fresh processes, whose settings, people and rooms are those of a new user."""

    def __init__(self, folder: Path) -> None:
        names = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")
        ours = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        self._environment = ours | dict.fromkeys(names, str(folder))

    def rounds(self, bundles: Sequence[Bundle], played: str, count: int) -> dict[str, list[FreshRun]]:
        """Return the runs of each bundle; every round begins with another one."""
        runs: dict[str, list[FreshRun]] = {label(bundle): [] for bundle in bundles}
        tasks = {label(bundle): partial(self._append, runs[label(bundle)], bundle, played) for bundle in bundles}
        alternate(tasks, count, warm=0)
        return runs

    def _append(self, runs: list[FreshRun], bundle: Bundle, played: str) -> None:
        runs.append(self.play(bundle, played))

    def play(self, bundle: Bundle, played: str) -> FreshRun:
        """Run `affectd run` once.

        Raises:
            ModelError: it fails, or recognises nothing.
        """
        affectd = [sys.executable, "-m", "edge", "run", "--source", str(CONVERSATION), "--json", OPTIONS[played]]
        watched = [sys.executable, "-m", "export.measure.stopwatch", *affectd, "--bundle", str(bundle.folder)]
        done = subprocess.run(watched, capture_output=True, text=True, env=self._environment, check=False)
        found: dict[str, Any] = json.loads(done.stdout or "{}")
        first_s: dict[str, float] = found.get("first_s", {})
        if found.get("code") or "utterance" not in first_s:
            raise ModelError(f"{bundle.folder}: affectd run recognised nothing: {done.stderr.strip()[-500:]}")
        return FreshRun(first_s["ready"], first_s["utterance"], found["end_s"], found["cpu_s"], found["peak_mb"])


def _row(name: str, played: str, runs: Sequence[FreshRun]) -> tuple[str, ...]:
    columns = zip(*((run.ready_s, run.first_utterance_s, run.end_s, run.cpu_s) for run in runs), strict=True)
    peak_mb = max(run.peak_mb for run in runs)
    return (name, played, *map(_spread, columns), f"{peak_mb:.0f}", str(len(runs)))


def _spread(values_s: Sequence[float]) -> str:
    median, low, high = np.percentile(values_s, [50, 25, 75])
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def _targets(bundle: Bundle, runs: Mapping[tuple[str, str], Sequence[FreshRun]]) -> list[Target]:
    name = label(bundle)
    fast = runs[name, FAST]
    first_s = float(np.median([run.first_utterance_s for run in fast]))
    peak_mb = max(run.peak_mb for (of, _), found in runs.items() for run in found if of == name)
    return [
        Target(
            f"{name}: `affectd run` of a file as fast as it is analysed, from nothing to its first utterance "
            f"in {LONGEST_S:g} s",
            f"{first_s:.2f} s (median, n {len(fast)})",
            first_s <= LONGEST_S,
        ),
        Target(
            f"{name}: `affectd run` of the example conversation takes at most {MOST_MB:.0f} MB of memory",
            f"{peak_mb:.0f} MB",
            peak_mb <= MOST_MB,
        ),
    ]
