"""``make soak``: a daemon under faults on a fast clock, in this process; its figures are written to ``docs/soak``."""

from __future__ import annotations

import argparse
import io
import json
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import edge.capture.open
import edge.outputs.open
from edge.capture import persistent
from edge.daemon.daemon import Daemon
from edge.model import open_model
from edge.settings import LoadedSettings, Settings
from edge.summary import Summary
from soak.faults import Disk, Faults
from soak.ledger import Counting, Ledger, descriptors, resident_mb, threads
from soak.report import write_report
from soak.world import FLOODED, ROOT, Clock, World

PASSING = "yard"
"""A source that comes and goes."""
IN_FLIGHT_S = 5.0
"""Audio of a source that may be on its way when it is counted."""
SAMPLES = 100
"""Of memory, threads and descriptors, in the course of a run."""


class DiskPath(type(Path())):  # type: ignore[misc]
    """The path of a file on the disk that fills."""

    def open(self, mode: str = "r", **options: Any) -> Any:
        """Open it; what is written goes to that disk."""
        if "r" in mode:
            return super().open(mode, **options)
        how = {key: options.get(key) for key in ("encoding", "errors", "newline")}
        return io.TextIOWrapper(Disk(str(self), mode), **how)


@dataclass
class Course:
    """What was sampled in the course of a run."""

    hours: list[float] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    """What the daemon said at the end."""


def main() -> int:
    """Run, report, and return 0 if all that must be true is."""
    arguments = argparse.ArgumentParser(prog="make soak", description=__doc__)
    arguments.add_argument("--hours", type=float, default=6.0, help="of the world's clock")
    arguments.add_argument("--speed", type=float, default=36.0, help="of that clock")
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "soak", help="folder of the report")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="affectd-soak-") as folder:
        facts = soak(given.hours, given.speed, Path(folder))
    write_report(facts, given.out)
    for line in facts["faults"]:
        print(f"soak: {line}", file=sys.stderr)
    return 1 if facts["faults"] else 0


def soak(hours: float, speed: float, folder: Path) -> dict[str, Any]:
    """Return what happened in so many hours of the world's clock."""
    clock = Clock(speed)
    world = World(clock)
    # The product's own parts, but for where audio and files come from and how long an outage lasts.
    persistent.FIRST_RETRY_S = 0.25 / speed
    edge.capture.open.open_source = lambda settings, patient=False: world.open(settings.source)
    edge.outputs.open.expanded = DiskPath
    variants = [settings_of(folder, number) for number in range(3)]
    state = {"variant": 0}

    def again() -> LoadedSettings:
        return LoadedSettings(variants[state["variant"]], {})

    ledger, slow = Ledger(), Counting("slow")
    loaded = LoadedSettings(variants[0], {}, again)
    daemon = Daemon(open_model(variants[0]), loaded, more_outputs=[ledger, slow])

    def change(number: int) -> None:
        state["variant"] = (number + 1) % len(variants)
        daemon.reload()

    faults = Faults(world, daemon, slow, change)
    course = Course()
    stopper = threading.Thread(target=watch, args=(daemon, clock, hours, course, faults), daemon=True)
    stopper.start()
    began_s = time.monotonic()
    summary = daemon.run()
    stopper.join()
    took_s = time.monotonic() - began_s
    return collected(world, ledger, slow, faults, course, summary, folder) | {
        "hours": hours,
        "speed": speed,
        "took_s": round(took_s, 1),
    }


def settings_of(folder: Path, number: int) -> Settings:
    """Return one of the settings that the daemon goes over to and fro."""
    names = ["kitchen", "hall", FLOODED, *([PASSING] if number == 1 else [])]
    outputs = [
        {"type": "json", "path": str(folder / "events.jsonl")},
        {"type": "journal", "path": str(folder / "journal.db")},
    ]
    outputs += [{"type": "csv", "path": str(folder / "table.csv")}] if number == 1 else []
    return Settings.model_validate(
        {
            "sources": [{"source": name, "name": name} for name in names],
            "outputs": outputs,
            "segmenter": {"end_silence_s": 0.4 if number == 1 else 0.5},
            "encoder": {"bundle": "nano" if number == 2 else "default"},
            "speakers": {"store": str(folder / "store")},
        }
    )


def watch(daemon: Daemon, clock: Clock, hours: float, course: Course, faults: Faults) -> None:
    """Sample in the course of a run, and end it."""
    faults.start()
    for number in range(1, SAMPLES + 1):
        due_s = hours * 3_600 * number / SAMPLES
        while clock.now_s < due_s:
            time.sleep(min(0.2, max(0.001, (due_s - clock.now_s) / clock.speed)))
        course.hours.append(round(clock.now_s / 3_600, 3))
        course.resident_mb.append(round(resident_mb(), 1))
        course.threads.append(threads())
        course.descriptors.append(descriptors())
        if sys.stderr.isatty():
            print(f"\r{number} %, {course.resident_mb[-1]:.0f} MB", end="", file=sys.stderr, flush=True)
    faults.stop()
    time.sleep(3)  # what was late is over, and outputs have caught up
    course.status = daemon.status()
    daemon.stop()


def collected(
    world: World, ledger: Ledger, slow: Counting, faults: Faults, course: Course, summary: Summary, folder: Path
) -> dict[str, Any]:
    """Return the figures, and under ``faults`` what must not be."""
    wrong = [*ledger.faults, *faults.failures]
    ended = sum(ledger.ended.values())
    if ledger.unfinished or ended != ledger.newest:
        wrong.append(f"{ledger.newest} utterances began, {ended} ended, {ledger.unfinished} are not over")
    written = lines_of(folder / "events.jsonl", wrong)
    lost = summary.lost_events
    for name, count in ((str(folder / "events.jsonl"), written), ("slow", slow.events)):
        if count + lost.get(name, 0) != ledger.events:
            wrong.append(f"{name}: {count} events and {lost.get(name, 0)} lost, of {ledger.events}")
    with closing(sqlite3.connect(folder / "journal.db")) as journal:
        (kept,) = journal.execute("SELECT count(*) FROM events WHERE fact = 'utterance'").fetchone()
        if kept != ledger.ended["utterance"]:
            wrong.append(f"the journal has {kept} of {ledger.ended['utterance']} utterances")
    audio = []
    for source in course.status["sources"]:
        if source["name"] == PASSING:
            continue
        delivered_s = sum(device.delivered_s for device in world.devices if device.name == source["name"])
        accounted_s = source["audio_s"] + (source["lost_s"] if source["name"] == FLOODED else 0)
        audio.append(
            {"source": source["name"], "delivered_s": round(delivered_s, 1), "accounted_s": round(accounted_s, 1)}
        )
        if abs(delivered_s - accounted_s) > IN_FLIGHT_S:
            wrong.append(
                f"{source['name']}: {delivered_s:.1f} s of audio were delivered, {accounted_s:.1f} s accounted for"
            )
    tenth = SAMPLES // 10
    second, last = (sum(part) / tenth for part in (course.resident_mb[tenth : 2 * tenth], course.resident_mb[-tenth:]))
    if last > 1.05 * second:
        wrong.append(f"resident memory grew from {second:.0f} MB in the second tenth to {last:.0f} MB in the last")
    for what in ("threads", "descriptors"):
        series = getattr(course, what)
        if max(series[-tenth:]) > max(series[tenth : 2 * tenth]):
            wrong.append(f"{what} grew from {max(series[tenth : 2 * tenth])} to {max(series[-tenth:])}")
    return {
        "faults": wrong,
        "happened": dict(faults.happened),
        "ended": dict(ledger.ended),
        "reasons": dict(ledger.reasons),
        "events": ledger.events,
        "events_lost": {Path(name).name: count for name, count in lost.items()},
        "audio": audio,
        "memory_mb": {"second tenth": round(second, 1), "last tenth": round(last, 1)},
        "course": {
            "hours": course.hours,
            "resident_mb": course.resident_mb,
            "threads": course.threads,
            "descriptors": course.descriptors,
        },
    }


def lines_of(path: Path, wrong: list[str]) -> int:
    """Return how many lines a file of JSON lines has, each of which must be one."""
    count = 0
    with open(path, encoding="utf-8") as lines:
        for count, line in enumerate(lines, start=1):
            try:
                json.loads(line)
            except ValueError:
                wrong.append(f"{path.name}: line {count} is no JSON")
    return count


if __name__ == "__main__":
    sys.exit(main())
