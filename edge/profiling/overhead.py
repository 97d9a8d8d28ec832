"""What the profiler itself costs: the same recordings with and without someone attached, in turn."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from statistics import median

from edge.arrays import percentile_interval
from edge.bundle import Bundle
from edge.capture import FileSource
from edge.daemon.control import ControlServer
from edge.engine import Engine
from edge.errors import UsageError
from edge.model_facts import model_facts
from edge.outputs import JsonLines
from edge.profiling.compare import LEVEL, medians
from edge.profiling.measurements import Progress, Row, rounded
from edge.recognizer import Recognizer
from edge.settings import Settings
from edge.timing import Observer, Timing

PAIRS = 12
"""Runs without and with, in a round."""
ATTACHES_S = 60.0


class _TimedSending:
    """An observer that sends to a server, and keeps the CPU time of that in milliseconds."""

    def __init__(self, server: ControlServer) -> None:
        self._server = server
        self.samples_ms: list[float] = []

    def __call__(self, timing: Timing) -> None:
        """See ``Observer``."""
        started_s = time.thread_time()
        self._server.send(timing)
        self.samples_ms.append((time.thread_time() - started_s) * 1e3)


def measure_overhead(
    files: Sequence[Path], bundle: Bundle, settings: Settings, rounds: int, progress: Progress
) -> tuple[list[Row], str, str]:
    """Run through the recordings as fast as possible, alternating which of two neighbours comes first.

    Returns:
        Rows, a note with their meaning, and the execution provider in use. ``off`` and ``on`` are the CPU time of this
        process to go through the recordings; ``tell`` is that of each utterance to send its timing.

    Raises:
        UsageError: nobody can attach.
    """
    fast = settings.model_copy(
        update={
            "capture": settings.capture.model_copy(update={"source": str(files[0]), "realtime": False}),
            "speakers": settings.speakers.model_copy(update={"refine": False}),
        }
    )
    recognizer = Recognizer(bundle, fast.encoder)
    _cpu_ms(files, recognizer, fast, None)
    off_ms: list[list[float]] = []
    on_ms: list[list[float]] = []
    tell_ms: list[list[float]] = []
    with _watched_server(recognizer) as server:
        for number in range(rounds):
            progress(f"with and without the profiler, round {number + 1} of {rounds}")
            sending = _TimedSending(server)
            off_ms.append([])
            on_ms.append([])
            for pair in range(PAIRS):
                sides: list[tuple[list[float], Observer | None]] = [(off_ms[-1], None), (on_ms[-1], sending)]
                for samples, observe in sides if pair % 2 else sides[::-1]:
                    samples.append(_cpu_ms(files, recognizer, fast, observe))
            tell_ms.append(sending.samples_ms)
    measured = {"off": off_ms, "on": on_ms} | ({"tell": tell_ms} if all(tell_ms) else {})
    rows = [
        Row(part="overhead", stage=stage, rounds=tuple(map(rounded, samples))) for stage, samples in measured.items()
    ]
    return rows, _note(off_ms, on_ms, tell_ms), recognizer.encoder.provider


def _note(off_ms: list[list[float]], on_ms: list[list[float]], tell_ms: list[list[float]]) -> str:
    """Return what neighbouring runs differ by; sending alone is a sharper figure than that of two large ones."""
    percents = [
        [100 * (on / off - 1) for off, on in zip(offs, ons, strict=True)]
        for offs, ons in zip(off_ms, on_ms, strict=True)
    ]
    low, high = percentile_interval(medians(percents), LEVEL)
    sent_percent = 100 * sum(chain(*tell_ms)) / sum(chain(*off_ms))
    return (
        f"the profiler costs {median(chain(*percents)):+.2f} % of the CPU time (99 %: {low:+.2f} … {high:+.2f}); "
        f"by itself, telling of utterances is {sent_percent:.2f} % of it"
    )


@contextmanager
def _watched_server(recognizer: Recognizer) -> Iterator[ControlServer]:
    """Give a server that a real ``affectd profile --attach`` is attached to, in a process of its own."""
    facts = model_facts(recognizer.bundle, recognizer.settings, recognizer.encoder.provider).model_dump()
    server = ControlServer({"facts": lambda _: facts})
    try:
        server.open()
    except OSError as error:
        raise UsageError(f"nobody can attach: {error}") from None
    command = [sys.executable, "-m", "edge", "profile", "--attach", str(os.getpid()), "--json"]
    # The server closes first, which ends the client.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client, closing(server):
        until_s = time.monotonic() + ATTACHES_S
        while not server.watched:
            if client.poll() is not None or time.monotonic() > until_s:
                client.kill()
                raise UsageError("affectd profile --attach does not attach")
            time.sleep(0.05)
        yield server


def _cpu_ms(files: Sequence[Path], recognizer: Recognizer, settings: Settings, observe: Observer | None) -> float:
    """Return the CPU time, of all threads of the process, to go through the recordings."""
    started_s = time.process_time()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        for file in files:
            Engine([FileSource(file)], recognizer, [JsonLines(nowhere)], settings, [observe] if observe else []).run()
    return (time.process_time() - started_s) * 1e3
