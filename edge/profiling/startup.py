"""How long it takes from nothing to READY, and how much memory, in fresh processes of the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import IO, Any

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.errors import ModelError
from edge.profiling.facts import peak_mb
from edge.profiling.measurements import Progress, Row, rounded
from edge.profiling.replay import built_in_signal
from edge.settings import SECTIONS, Settings
from edge.vad import to_pcm

HANGS_S = 600.0
"""Compiling for TensorRT takes minutes."""
PEAK_MEMORY = "peak memory"
GREETING_SAMPLES = SAMPLE_RATE_HZ // 4


def start_rows(settings: Settings, starts: int, progress: Progress) -> list[Row]:
    """Start ``affectd run`` so many times, and give a row for each measure.

    Raises:
        ModelError: it does not start.
    """
    found: dict[str, list[float]] = {}
    for number in range(starts):
        progress(f"cold start {number + 1} of {starts}")
        for stage, sample in measure_start(settings).items():
            found.setdefault(stage, []).append(sample)
    return [
        Row(
            part="start",
            stage=stage,
            unit="MB" if stage == PEAK_MEMORY else "ms",
            rounds=tuple(rounded([sample]) for sample in samples),
        )
        for stage, samples in found.items()
    ]


def measure_start(settings: Settings) -> dict[str, float]:
    """Start the command once, play one utterance to its standard input, and end it.

    Returns:
        ``cold start``, from the start of the process to READY with every length warm; ``first inference`` of the
        shortest length in another fresh process, before anything is warm; ``first utterance``, its inference after
        READY, unless no voice is found in the built-in signal; ``peak memory``, resident after it, where /proc is.
    """
    signal = built_in_signal((1.5,))
    command = [sys.executable, "-m", "edge", "run", *_options(settings)]
    command += ["--source", "-", "--rate", str(SAMPLE_RATE_HZ), "--fast", "--json"]
    started_s = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        timer = threading.Timer(HANGS_S, process.kill)
        timer.start()
        try:
            _write(process.stdin, signal[:GREETING_SAMPLES])
            first = _event(process.stdout)
            ready_ms = (time.monotonic() - started_s) * 1e3
            if first is None:
                _, errors = process.communicate()
                raise ModelError(f"affectd run does not start: {errors.decode(errors='replace').strip()}")
            _write(process.stdin, signal[GREETING_SAMPLES:])
            utterance = _event(process.stdout)
            while utterance and utterance["type"] != "utterance":
                utterance = _event(process.stdout)
            memory_mb = peak_mb(process.pid)
            process.communicate()
        finally:
            timer.cancel()
            process.kill()
    measured = {"cold start": ready_ms, "first inference": _first_inference_ms(settings)}
    if utterance:
        measured["first utterance"] = utterance["latency_ms"]["encoder"]
    return measured if memory_mb is None else measured | {PEAK_MEMORY: memory_mb}


def _first_inference_ms(settings: Settings) -> float:
    result = subprocess.run(
        [sys.executable, "-m", "edge.profiling.first_inference"],
        input=settings.encoder.model_dump_json().encode(),
        capture_output=True,
        timeout=HANGS_S,
        check=False,
    )
    if result.returncode:
        raise ModelError(f"the first inference fails: {result.stderr.decode(errors='replace').strip()[-500:]}")
    return float(result.stdout)


def _options(settings: Settings) -> list[str]:
    """Return every setting as an option, so that neither a file nor the environment matters."""
    values = {f"{section}.{key}": value for section in SECTIONS for key, value in getattr(settings, section)}
    texts = {key: ",".join(value) if isinstance(value, tuple) else str(value) for key, value in values.items()}
    return ["--config", os.devnull, *(option for key, text in texts.items() for option in ("--set", f"{key}={text}"))]


def _write(stream: IO[bytes] | None, samples: Waveform) -> None:
    assert stream is not None
    try:
        stream.write(to_pcm(samples))
        stream.flush()
    except BrokenPipeError:  # it has ended, and the reason is on standard error
        pass


def _event(stream: IO[bytes] | None) -> dict[str, Any] | None:
    assert stream is not None
    line = stream.readline()
    event: dict[str, Any] | None = json.loads(line) if line else None
    return event
