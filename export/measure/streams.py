"""How many streams one recogniser carries."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.recognizer import Recognizer
from export.bundle.check import opened
from export.measure.plan import LENGTHS_S, Plan, conversation, label
from export.measure.report import Section, Table
from export.rounds import RoundTimes, alternate, digits

STREAMS = (1, 2, 4, 8)
UTTERANCES = 16
"""Of each stream and round."""
HEADER = ("streams", "handed over", "latency ms", "p99 ms", "n", "audio s per s")
NOTES = """\
Every stream has {utterances} utterances of real lengths (`export/measure/plan.py`), one after the other without a
pause, which no speaker does; all streams share one recogniser. *Separately*: a thread for each stream hands over its
next utterance when the last one is done, and latency is that of an utterance, waiting for a core included.
*Together*: the next utterance of every stream goes into one call, as `affectd run` batches what waits, and latency
is that of the call."""


@dataclass(frozen=True)
class Load:
    """What one round of all streams took."""

    latencies_ms: list[float]
    """Of each utterance."""
    elapsed_s: float


def measure(plan: Plan) -> Section:
    """Load the first bundle's recogniser with ever more streams."""
    bundle = plan.bundles[0]
    utterances = [conversation(length_s) for length_s in LENGTHS_S]
    tables, figures = [], []
    for threads in plan.threads:
        recognizer = opened(bundle, threads)
        rows = []
        for count in STREAMS[:2] if plan.quick else STREAMS:
            each = 2 if plan.quick else UTTERANCES
            streams = [utterances[stream * each : (stream + 1) * each] for stream in range(count)]
            audio_s = sum(len(waveform) for stream in streams for waveform in stream) / SAMPLE_RATE_HZ
            loads_of = _loads(recognizer, streams, max(1, plan.rounds // 3))
            for name, loads in loads_of.items():
                latency = RoundTimes(tuple(value for load in loads for value in load.latencies_ms))
                throughput = audio_s / float(np.median([load.elapsed_s for load in loads]))
                p99_ms = float(np.percentile(latency.values_ms, 99))
                cells = (str(latency), digits(p99_ms), str(len(latency.values_ms)), digits(throughput))
                rows.append((str(count), name, *cells))
                figures.append(
                    {"streams": count, "handed_over": name, "threads": threads, "throughput": throughput}
                    | {"p99_ms": p99_ms, "median_ms": latency.median_ms, "quartiles_ms": latency.quartiles_ms}
                )
        title = f"{label(bundle)}, {threads} thread{'s' * (threads > 1)} an inference"
        tables.append(Table(title, HEADER, rows))
    return Section("Streams that share a recogniser", NOTES.format(utterances=UTTERANCES), tables, {"streams": figures})


def separately(recognizer: Recognizer, streams: list[list[Waveform]]) -> Load:
    """Let every stream's thread hand over its own utterances."""

    def speak(stream: list[Waveform]) -> list[float]:
        return [_timed_ms(recognizer, [waveform]) for waveform in stream]

    started_s = time.perf_counter()
    with ThreadPoolExecutor(len(streams)) as pool:
        latencies_ms = [value for values in pool.map(speak, streams) for value in values]
    return Load(latencies_ms, time.perf_counter() - started_s)


def together(recognizer: Recognizer, streams: list[list[Waveform]]) -> Load:
    """Hand over the next utterance of all streams at once."""
    started_s = time.perf_counter()
    latencies_ms = []
    for waveforms in zip(*streams, strict=True):
        latencies_ms += [_timed_ms(recognizer, list(waveforms))] * len(waveforms)
    return Load(latencies_ms, time.perf_counter() - started_s)


def _loads(recognizer: Recognizer, streams: list[list[Waveform]], rounds: int) -> dict[str, list[Load]]:
    """Return the load of every way to hand over in every round, after one to warm up."""
    loads: dict[str, list[Load]] = {"separately": [], "together": []}
    tasks = {
        "separately": lambda: loads["separately"].append(separately(recognizer, streams)),
        "together": lambda: loads["together"].append(together(recognizer, streams)),
    }
    alternate(tasks, rounds)
    return {name: every[1:] for name, every in loads.items()}


def _timed_ms(recognizer: Recognizer, waveforms: list[Waveform]) -> float:
    started_s = time.perf_counter()
    recognizer.probabilities(waveforms)
    return (time.perf_counter() - started_s) * 1e3
