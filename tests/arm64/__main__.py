"""``make arm64``: do the bundles answer on arm64, emulated by QEMU, what they answer on this processor?"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arm64.root import CPUS, ROOT, MissingError, emulator, prepare
from edge.arrays import Matrix

PROJECT = Path(__file__).resolve().parents[2]
BUNDLES = ("default", "nano")
GRAPHS = ("embedding", "embedding in a bucket", "voiceprint", "voiceprint in a bucket")
COLUMNS = ("samples", *GRAPHS, "probabilities", "probabilities in a bucket", "events")
MOST_APART = dict.fromkeys(COLUMNS, 0.02) | {name: 0.04 if "embedding" in name else 0.1 for name in GRAPHS}
"""Of embeddings and voiceprints the length of the difference over theirs: cosines of .9992, that of int8 with the float
graph in the default bundle, and of .995, where int8 may have .96; of the rest the largest difference."""
LAST_BIT = 6e-8
Found = tuple[Mapping[str, Matrix], list[dict[str, Any]]]
"""What ``answers.py`` writes, and the events of `affectd run`."""


def main() -> int:
    """Print a table, and return 0 if everything is the same on each emulated processor."""
    arguments = argparse.ArgumentParser(prog="make arm64", description=__doc__)
    arguments.add_argument("--root", type=Path, default=ROOT, help="folder of the arm64 Python, filled unless it is")
    arguments.add_argument("--cpu", action="append", choices=tuple(CPUS), help="QEMU's processor; repeatable")
    arguments.add_argument("--bundle", action="append", choices=BUNDLES, help="repeatable; otherwise all")
    given, equal = arguments.parse_args(), True
    print("| processor | bundle |", " | ".join(COLUMNS), "| not the same |")
    print("| --- | --- |", "---: | " * len(COLUMNS) + "--- |")
    try:
        prepare(given.root)
        for bundle in given.bundle or BUNDLES:
            here = found([sys.executable], bundle)
            show(
                "this one, last bit",
                bundle,
                *compared(here, (found([sys.executable], bundle, apart=LAST_BIT)[0], here[1])),
            )
            for cpu in given.cpu or CPUS:
                apart, unlike = compared(here, found(emulator(given.root, cpu), bundle, given.root / "site"))
                show(cpu, bundle, apart, unlike)
                equal &= is_equal(apart, unlike)
    except MissingError as missing:
        raise SystemExit(f"make arm64: {missing}") from None
    print("equal" if equal else f"NOT EQUAL: allowed are {MOST_APART}", file=sys.stderr)
    return int(not equal)


def show(processor: str, bundle: str, apart: Mapping[str, float], unlike: Sequence[str]) -> None:
    """Print a row of the table."""
    cells = [f"{apart[name]:.1g}" if name in apart else "" for name in COLUMNS]
    print(f"| {processor} | {bundle} |", " | ".join(cells), f"| {', '.join(unlike) or 'none'} |", flush=True)


def is_equal(apart: Mapping[str, float], unlike: Sequence[str]) -> bool:
    """Return whether it is the same within the tolerance."""
    return not unlike and all(each <= MOST_APART[name] for name, each in apart.items())


def found(python: Sequence[str], bundle: str, site: Path | None = None, apart: float = 0.0) -> Found:
    """Return what is found in that Python, with nobody's settings; ``apart`` is that of ``answers.py``.

    Raises:
        MissingError: it failed there.
    """
    with tempfile.TemporaryDirectory(prefix="affectd-arm64-") as folder:
        path = os.pathsep.join(str(each) for each in (site, PROJECT, PROJECT / "tests") if each)
        homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"), folder)
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", **homes}
        command = [*python, "-m", "arm64.answers", bundle, f"{folder}/answers.npz", str(apart)]
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        with np.load(f"{folder}/answers.npz") as answers:
            return dict(answers), [json.loads(line) for line in done.stdout.splitlines()]


def compared(ours: Found, theirs: Found) -> tuple[dict[str, float], list[str]]:
    """Return how far each of ``COLUMNS`` is apart, and what is no number and not the same, such as a label."""
    apart, unlike = {}, []
    for name, mine in ours[0].items():
        difference = np.abs(theirs[0][name] - mine)
        if name in GRAPHS:
            difference = np.linalg.norm(difference, axis=1) / np.linalg.norm(mine, axis=1)
        apart[name] = float(difference.max())
        if name.startswith("probabilities") and (mine.argmax(axis=1) != theirs[0][name].argmax(axis=1)).any():
            unlike.append(f"labels by {name}")
    left, right = (dict(leaves(events)) for _, events in (ours, theirs))
    both = {name for name in left if isinstance(left[name], float) and isinstance(right.get(name), float)}
    numbers = {name for name in both if not name.endswith("_s")}
    apart["events"] = max((abs(left[name] - right[name]) for name in numbers), default=0.0)
    unlike += [name for name in left.keys() | right.keys() if name not in numbers and left.get(name) != right.get(name)]
    return apart, sorted(unlike)


def leaves(part: Any, name: str = "event") -> Iterator[tuple[str, Any]]:
    """Yield what is in events, each with its path, but for times of the wall clock."""
    if isinstance(part, (dict, list)):
        for key, inner in part.items() if isinstance(part, dict) else enumerate(part, start=1):
            if key not in ("time", "latency_ms"):
                yield from leaves(inner, f"{name} {key}")
    else:
        yield name, part


if __name__ == "__main__":
    sys.exit(main())
