"""How many sources one core serves: live ones that talk half of the time, more and more of them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.bundle import Bundle
from edge.capture import BLOCK_S, Block, Rest
from edge.engine import Engine
from edge.profiling.facts import resident_mb
from edge.profiling.measurements import Progress, Row, rounded
from edge.recognizer import Recognizer
from edge.segmenter import Segmenter
from edge.settings import Settings
from edge.timing import Timing

WARM_UP_S = 5.0
"""At the beginning of each step, which do not count."""
LIMIT_MS = 300.0
"""The final event of 99 in 100 utterances is to come within this time, its own silence apart."""
BLOCK = round(BLOCK_S * SAMPLE_RATE_HZ)
QUIET = 1e-4
"""Standard deviation of the noise between what is said."""


def half_talk(files: Sequence[Path]) -> Waveform:
    """Return ``float32[samples]`` in which somebody talks half of the time: each utterance, and as long a silence."""
    noise = np.random.default_rng(0)
    parts: list[Waveform] = []
    for file in files:
        samples = read_audio(file)
        segmenter = Segmenter(Settings().vad, Settings().segmenter)
        for segment in segmenter.push(samples) + segmenter.flush():
            talk = samples[round(segment.start_s * SAMPLE_RATE_HZ) : round(segment.end_s * SAMPLE_RATE_HZ)]
            parts += [talk, QUIET * noise.standard_normal(max(len(talk), SAMPLE_RATE_HZ)).astype(np.float32)]
    return np.concatenate(parts)


class Loop:
    """A live source that plays samples again and again; a block that is fetched late was captured in time."""

    can_wait = False

    def __init__(self, name: str, samples: Waveform, offset_s: float) -> None:
        self.name, self.rest = name, Rest()
        self._samples, self._place = samples, round(offset_s * SAMPLE_RATE_HZ) % len(samples) // BLOCK * BLOCK
        self._closed = threading.Event()

    def blocks(self) -> Iterator[Block]:
        """Yield it on the real clock; see ``Source.blocks``."""
        due_s = time.monotonic()
        while not self._closed.is_set():
            due_s += BLOCK_S
            wait_s = due_s - time.monotonic()
            if wait_s > 0:  # otherwise it is there already, after a rest
                self._closed.wait(wait_s + max(0.0, self.rest.s - BLOCK_S))
            yield Block(self._samples[self._place : self._place + BLOCK], due_s)
            self._place = (self._place + BLOCK) % (len(self._samples) // BLOCK * BLOCK)

    def close(self) -> None:
        """End it."""
        self._closed.set()


@dataclass
class Step:
    """What was measured with so many sources."""

    sources: int
    answer_ms: list[float] = field(default_factory=list)
    """From the end of speech to the answer, the silence that it waits for included."""
    final_ms: list[float] = field(default_factory=list)
    """From the end of the silence that ends an utterance to its final event."""
    skipped: int = 0
    busy: float = 0.0
    """Share of the core."""

    @property
    def holds(self) -> bool:
        """It keeps up."""
        return not self.skipped and bool(self.final_ms) and float(np.quantile(self.final_ms, 0.99)) < LIMIT_MS

    def __str__(self) -> str:
        if not self.final_ms:
            return f"{self.sources}: nothing was answered"
        p99_ms = float(np.quantile(self.final_ms, 0.99))
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.sources}: {p99_ms:.0f} ms{skipped}, {self.busy:.0%} of the core"


def measure_streams(
    counts: Sequence[int],
    duration_s: float,
    files: Sequence[Path],
    bundle: Bundle,
    settings: Settings,
    progress: Progress,
) -> tuple[list[Row], list[str], str]:
    """Listen to more and more sources on one core, and to one in silence.

    Returns:
        Rows of the answers and of the final events, for each count; notes; and the execution provider.
    """
    settings = settings.model_copy(
        update={
            "speakers": settings.speakers.model_copy(update={"refine": False}),
            "room": settings.room.model_copy(update={"remember": False}),
            "overload": settings.overload.model_copy(update={"enabled": False}),
        }
    )
    recognizer = Recognizer(bundle, settings.encoder)
    recognizer.load()
    talk = half_talk(files)
    rows, steps = [], []
    with _one_core():
        progress("one source in silence")
        quiet = QUIET * np.random.default_rng(1).standard_normal(10 * SAMPLE_RATE_HZ).astype(np.float32)
        idle = _step([Loop("quiet", quiet, 0.0)], duration_s, recognizer, settings)
        memory_mb = resident_mb()
        for count in counts:
            progress(f"{count} sources for {duration_s:g} s")
            sources = [Loop(f"source {number}", talk, number * 1.7) for number in range(count)]
            steps.append(step := _step(sources, duration_s, recognizer, settings))
            for stage, samples in (("answer", step.answer_ms), ("final", step.final_ms)):
                if samples:
                    name = f"{stage} of {count}"
                    rows.append(Row(part="streams", stage=name, sources=count, rounds=(rounded(samples),)))
    held = max((step.sources for step in takewhile(lambda step: step.holds, steps)), default=0)
    notes = [
        f"one core serves {held} sources that talk half of the time: final events within {LIMIT_MS:.0f} ms (p99)",
        "final, p99, with so many sources: " + "; ".join(map(str, steps)),
        f"one source in silence takes {idle.busy:.1%} of the core and {memory_mb:.0f} MB in all",
    ]
    return rows, notes, recognizer.encoder.provider


def _step(sources: Sequence[Loop], duration_s: float, recognizer: Recognizer, settings: Settings) -> Step:
    step = Step(len(sources))
    began_s = time.monotonic() + WARM_UP_S
    before = [0, 0.0]

    def observe(timing: Timing) -> None:
        if timing.published_at_s >= began_s:
            step.answer_ms.append(timing.provisional_ms)
            step.final_ms.append(timing.total_ms - timing.stage_ms["endpoint"])

    engine = Engine(sources, recognizer, [], settings, [observe])

    def watch() -> None:
        time.sleep(WARM_UP_S)
        before[:] = engine.summary().skipped, time.process_time()
        time.sleep(duration_s)
        step.skipped = engine.summary().skipped - int(before[0])
        step.busy = (time.process_time() - before[1]) / duration_s
        engine.stop()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    engine.run()
    thread.join()
    return step


@contextmanager
def _one_core() -> Iterator[None]:
    """Stay on one core, with every thread that is started meanwhile, where the system lets one say so."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
