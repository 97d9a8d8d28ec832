"""``make fleet``: a hundred devices at one broker, which is restarted and killed; figures go into ``docs/fleet.md``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from fleet.collector import Collector
from fleet.devices import run_devices
from helpers.brokers import KEPT, Mosquitto

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 2
AWAY_S = 3.0
LONGEST_S = 60.0
CONFIG = f"allow_anonymous true\n{KEPT}autosave_interval 10\n"
MEASURED = "## Measured\n"
PROTOCOL = """
Written by `make fleet`, on {machine} with mosquitto {mosquitto} and Python {python}.
{devices} devices, each the product's own MQTT door with a connection of its own, write what `affectd run` writes of an
utterance: `speech_start`, `provisional`, `utterance`. The states and the devices of Home Assistant go with it.
`mosquitto_sub` with a session that the broker keeps collects the events: first as fast as it goes, then {rate} events
a second, while nothing happens, while the broker is restarted, and while it is killed (`kill -9`), away for {away} s
each. Devices come back after 1, 2, 4, … up to 30 s, hence the longest delays. Broker, devices and collector share the
machine, and the devices, which are Python, take most of it.

| | events | lost | twice | events a second | delay p50 | p99 | longest |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}

The devices count {counted} events as lost. For an event, and what belongs to it, the broker needs {fast_us} µs of CPU
time at full speed, and {calm_us} µs at {rate} events a second.
"""


@dataclass
class Phase:
    """What came of the events of some seconds."""

    name: str
    events: int
    """That were written."""
    lost: int
    """That did not arrive."""
    twice: int
    """Arrivals of an event that had arrived already."""
    took_s: float
    """From the first event written to the last arrived."""
    delays_ms: tuple[float, float, float]
    """From writing to arrival: median, 99th percentile, longest."""
    broker_us: float
    """CPU time of the broker for each event; -1 where it was another one at the end."""


def main() -> int:
    """Measure, write the figures, and return 0 if no event was lost."""
    arguments = argparse.ArgumentParser(prog="make fleet", description=__doc__)
    arguments.add_argument("--devices", type=int, default=100)
    arguments.add_argument("--events", type=int, default=300, help="of each device, as fast as it can")
    arguments.add_argument("--rate", type=float, default=300.0, help="events a second of all, afterwards")
    arguments.add_argument("--seconds", type=float, default=20.0, help="of that, undisturbed and for each fault")
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "fleet.md", help="page whose end is replaced")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="affectd-fleet-") as folder:
        try:
            phases, counted = fleet(given.devices, given.events, given.rate, given.seconds, Path(folder))
        except pytest.skip.Exception as missing:
            raise SystemExit(f"fleet: {missing}") from None
    page = given.out.read_text(encoding="utf-8") if given.out.exists() else ""
    text = page.partition(MEASURED)[0] + report(phases, counted, given.devices, given.rate)
    given.out.write_text(text, encoding="utf-8")
    lost = sum(phase.lost for phase in phases)
    print(f"fleet: {lost} events lost, {counted} counted as lost", file=sys.stderr)
    return int(lost + counted > 0)


def fleet(devices: int, events: int, rate: float, seconds: float, folder: Path) -> tuple[list[Phase], int]:
    """Return what came of each phase, and how many events the devices count as lost."""
    broker = Mosquitto(folder, CONFIG).start()
    collector = Collector(broker.port)
    names = [f"device-{number:03}" for number in range(devices)]
    workers = start_devices(names, broker.address)
    try:
        time.sleep(3)  # all have logged in, and said what they are
        phases = [measured("as fast as it goes", workers, devices, events, 0.0, broker, collector)]
        each = max(1, round(rate * seconds / devices))
        for name in ("undisturbed", "broker restarted", "broker killed"):
            phases.append(measured(name, workers, devices, each, rate, broker, collector))
        for worker in workers:
            worker.send(("end",))
        counted = sum(lost for worker in workers for _, lost in worker.recv().values())
    finally:
        collector.end()
        broker.kill()
    return phases, counted


def start_devices(names: Sequence[str], address: str) -> list[Connection]:
    """Start the devices in a few processes, which end with this one; return where their orders go."""
    context, orders = multiprocessing.get_context("spawn"), []
    for first in range(PROCESSES):
        ours, theirs = context.Pipe()
        context.Process(target=run_devices, args=(names[first::PROCESSES], address, theirs), daemon=True).start()
        orders.append(ours)
    return orders


def measured(
    name: str,
    workers: Sequence[Connection],
    devices: int,
    each: int,
    rate: float,
    broker: Mosquitto,
    collector: Collector,
) -> Phase:
    """Let each device write so many events, at a rate of all or (0) as fast as it goes; do what the name says."""
    seen, arrivals = len(collector.seen), collector.arrivals
    began_s, began_cpu_s = time.monotonic(), cpu_time_s(broker)
    for worker in workers:
        worker.send(("write", each, rate / len(workers)))
    if name.startswith("broker"):
        time.sleep(2)
        broker.end() if name == "broker restarted" else broker.kill()
        time.sleep(AWAY_S)
        broker.start()
    for worker in workers:
        worker.recv()
    collector.wait_for(seen + each * devices, LONGEST_S)
    arrived = len(collector.seen) - seen
    cpu_s = cpu_time_s(broker) - began_cpu_s if not name.startswith("broker") else -1e-6 * arrived
    p50, p99, longest = np.percentile(np.array(collector.delays_s[seen:]) * 1e3, (50, 99, 100)).tolist()
    return Phase(
        name,
        each * devices,
        each * devices - arrived,
        collector.arrivals - arrivals - arrived,
        collector.last_at_s - began_s,
        (p50, p99, longest),
        cpu_s / max(1, arrived) * 1e6,
    )


def cpu_time_s(broker: Mosquitto) -> float:
    """Return the CPU time of the broker so far."""
    assert broker.process
    fields = Path(f"/proc/{broker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(phases: Sequence[Phase], counted: int, devices: int, rate: float) -> str:
    """Return the figures as Markdown."""
    said = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True, check=False).stdout
    text = PROTOCOL.format(
        machine=f"{os.cpu_count()} shared cores ({platform.machine()})",
        mosquitto=said.partition("\n")[0].removeprefix("mosquitto version "),
        python=platform.python_version(),
        devices=devices,
        rate=f"{rate:g}",
        away=f"{AWAY_S:g}",
        rows="\n".join(map(row, phases)),
        counted=counted,
        fast_us=f"{phases[0].broker_us:.0f}",
        calm_us=f"{phases[1].broker_us:.0f}",
    )
    return MEASURED + text


def row(phase: Phase) -> str:
    """Return a phase as a row of the table."""
    counts = f"{phase.events:,} | {phase.lost:,} | {phase.twice:,} | {phase.events / phase.took_s:,.0f}"
    return f"| {phase.name} | {counts} | {' | '.join(f'{delay_ms:,.0f} ms' for delay_ms in phase.delays_ms)} |"


if __name__ == "__main__":
    sys.exit(main())
