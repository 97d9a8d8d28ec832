"""The report of a soak test: a page, its figures, and a plot of the memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_report(facts: Mapping[str, Any], folder: Path) -> None:
    """Write ``soak.md``, ``soak.json`` and ``soak.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    _plot(facts, folder / "soak.png")
    (folder / "soak.md").write_text("\n".join(_page(facts)) + "\n", encoding="utf-8")


PROTOCOL = """\
Written by `make soak`. One process runs the daemon of `affectd run`, with its socket, outputs, rooms and both bundles.
Its microphones are simulated: they play the example conversation and half a minute of a quiet room, again and again,
on a clock that runs {speed:g} times as fast as ours, and fail on it. An outage is waited for as much shorter.

{hours:g} hours of that clock took {minutes:.1f} minutes. {verdict}"""

MUST = """\
What must be, or the command fails: every id ends once, and its revisions count up; each output has all events but those
it counts as lost, and each line of the file on the disk that fills is whole; the journal has every utterance, whatever
the clock said; audio that a source delivered was heard, or is counted as lost; the last tenth's memory is within 5 % of
the second's; there are no more threads and descriptors.

![Resident memory](soak.png)"""


def _page(facts: Mapping[str, Any]) -> list[str]:
    course, memory, speed, hours = facts["course"], facts["memory_mb"], facts["speed"], facts["hours"]
    verdict = "Not everything added up:" if facts["faults"] else "Everything added up."
    return [
        "# A daemon under faults",
        "",
        PROTOCOL.format(speed=speed, hours=hours, minutes=facts["took_s"] / 60, verdict=verdict),
        "",
        *(f"- {fault}" for fault in facts["faults"]),
        *([""] if facts["faults"] else []),
        "| What happened | times |",
        "| --- | ---: |",
        *(f"| {name} | {count:,} |" for name, count in facts["happened"].items()),
        "",
        "| What came of it | |",
        "| --- | ---: |",
        *(f"| utterances that ended: {kind} | {count:,} |" for kind, count in facts["ended"].items()),
        f"| events | {facts['events']:,} |",
        *(f"| events lost and counted, output {name} | {count:,} |" for name, count in facts["events_lost"].items()),
        *(f"| `status` {reason} | {count:,} |" for reason, count in facts["reasons"].items()),
        *(
            f"| audio of {audio['source']}, delivered and accounted for | "
            f"{audio['delivered_s']:,.0f}, {audio['accounted_s']:,.0f} s |"
            for audio in facts["audio"]
        ),
        f"| resident memory in the second tenth, and in the last | "
        f"{memory['second tenth']:.0f}, {memory['last tenth']:.0f} MB |",
        f"| most threads, in the second tenth and in the last | {_most(course['threads'])} |",
        f"| most descriptors, in the second tenth and in the last | {_most(course['descriptors'])} |",
        "",
        MUST,
    ]


def _most(series: list[int]) -> str:
    tenth = len(series) // 10
    return f"{max(series[tenth : 2 * tenth])}, {max(series[-tenth:])}"


def _plot(facts: Mapping[str, Any], path: Path) -> None:
    import matplotlib  # noqa: PLC0415  (takes a second to import, which comes after the run)

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    course = facts["course"]
    figure, axes = pyplot.subplots(figsize=(7, 2.6), layout="constrained")
    axes.plot(course["hours"], course["resident_mb"], color="#1f77b4")
    axes.set(xlabel="hours of the world's clock", ylabel="resident memory, MB", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
