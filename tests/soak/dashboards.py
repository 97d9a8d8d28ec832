"""``python -m soak.dashboards``: what ten dashboards, five of which never read, cost those who wait for an answer.

One ``affectd run`` hears several people who talk half of the time. Dashboards come for a while, and leave for as long,
so that both are measured by the same process on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from edge.audio import SAMPLE_RATE_HZ
from edge.profiling.streams import half_talk
from helpers.web import ask, free_port, messages

ROOT = Path(__file__).resolve().parents[2]
BLOCK = 480
SETTLE_S = 3.0
"""At the beginning of each turn, which do not count."""
STATUS_S = 2.0
"""From one time that a dashboard asks for the status to the next."""
DASHBOARDS, DEAF = 10, 5


def talk(port: int, samples: Any, offset: int) -> None:
    """Send audio in real time, again and again, until nobody listens any more."""
    pcm = (np.clip(np.roll(samples, offset), -1, 1) * 32_767).astype("<i2")
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 30) as connection:
        due_s, place = time.monotonic(), 0
        while True:
            connection.sendall(pcm[place : place + BLOCK].tobytes())
            place = (place + BLOCK) % (len(pcm) - BLOCK)
            due_s += BLOCK / SAMPLE_RATE_HZ
            time.sleep(max(0.0, due_s - time.monotonic()))


@contextmanager
def running(sources: list[int], web: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``affectd`` with a source for each port."""
    config = "".join(f'[[sources]]\nsource = "tcp://127.0.0.1:{port}"\n' for port in sources)
    path = Path(f"/tmp/affectd-dashboards-{web}.toml")
    path.write_text(f'{config}[room]\nremember = false\n[web]\naddress = "127.0.0.1:{web}"\n')
    command = [sys.executable, "-m", "edge", "run", "--json", "--config", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        path.unlink()


class Course:
    """What came when."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.turn: bool | None = None
        """Dashboards are there; None: it does not count."""
        self.answers_ms: dict[bool, list[float]] = {False: [], True: []}
        """From the end of speech to the final event, less the silence that decides it."""
        self.delivery_ms: list[float] = []
        """From an event to a dashboard."""
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def deliver(self, event: dict[str, Any]) -> None:
        age_s = datetime.now(timezone.utc) - datetime.fromisoformat(event["time"])
        self.delivery_ms.append(age_s.total_seconds() * 1e3)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        for line in process.stdout:
            event, turn = json.loads(line), self.turn
            if event["type"] == "utterance" and turn is not None:
                latency_ms = event["latency_ms"]
                self.answers_ms[turn].append(latency_ms["total"] - latency_ms["endpoint"])


def never_read(port: int) -> list[socket.socket]:
    """Follow events and meters, and read nothing of it."""
    found = []
    for path in ("/events?after=0", "/live"):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        found.append(connection)
    return found


async def look(url: str, course: Course) -> None:
    """Do as a dashboard does."""

    async def follow(path: str) -> None:
        async with client.get(url + path) as response:
            async for message in messages(response):
                if message.id:
                    course.deliver(json.loads(message.data))

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None)) as client:
        tasks = [asyncio.ensure_future(follow(path)) for path in ("/events", "/live")]
        try:
            while True:
                async with client.get(f"{url}/status") as response:
                    await response.read()
                await asyncio.sleep(STATUS_S)
        finally:
            for task in tasks:
                task.cancel()


async def with_dashboards(port: int, course: Course, duration_s: float) -> None:
    """Let dashboards come, and leave after so long."""
    deaf = [connection for _ in range(DEAF) for connection in never_read(port)]
    tasks = [asyncio.ensure_future(look(f"http://127.0.0.1:{port}", course)) for _ in range(DASHBOARDS - DEAF)]
    await asyncio.sleep(SETTLE_S)
    course.turn = True
    await asyncio.sleep(duration_s)
    course.turn = None
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for connection in deaf:
        connection.close()


def main() -> None:
    """Measure, and print a table."""
    arguments = argparse.ArgumentParser(prog="python -m soak.dashboards", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=4)
    arguments.add_argument("--seconds", type=float, default=60.0, help="of each turn, of which a round has two")
    arguments.add_argument("--sources", type=int, default=8)
    given = arguments.parse_args()
    samples = half_talk(sorted((ROOT / "examples").glob("*.flac")))
    ports, web = [free_port() for _ in range(given.sources)], free_port()
    with running(ports, web) as process:
        course = Course(process)
        while not _is_healthy(web):
            time.sleep(0.2)
        for index, port in enumerate(ports):
            offset = len(samples) // given.sources * index
            multiprocessing.Process(target=talk, args=(port, samples, offset), daemon=True).start()
        time.sleep(5)
        for _ in range(given.rounds):
            time.sleep(SETTLE_S)
            course.turn = False
            time.sleep(given.seconds)
            course.turn = None
            asyncio.run(with_dashboards(web, course, given.seconds))
        resident_bytes = next(
            line.split()[1] for line in ask(f"http://127.0.0.1:{web}/metrics").text.splitlines() if _is_resident(line)
        )
    print("| from the end of speech, the silence apart, ms | utterances | p50 | p95 | p99 |\n|---|---:|---:|---:|---:|")
    for name, values in (
        ("nobody looks", course.answers_ms[False]),
        (f"{DASHBOARDS} dashboards, {DEAF} never read", course.answers_ms[True]),
        ("from an event to a dashboard", course.delivery_ms),
    ):
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        print(f"| {name} | {len(values):,} | {p50:.1f} | {p95:.1f} | {p99:.1f} |")
    print(f"{given.sources} sources, {float(resident_bytes) / 1e6:.0f} MB resident at the end")


def _is_resident(line: str) -> bool:
    return line.startswith("process_resident_memory_bytes ")


def _is_healthy(port: int) -> bool:
    with suppress(aiohttp.ClientError):
        return ask(f"http://127.0.0.1:{port}/health").status == 200
    return False


if __name__ == "__main__":
    main()
