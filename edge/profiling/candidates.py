"""Every way to run the encoder on this machine, measured in turn, and the best of them as a settings file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from edge.arrays import Doubles, percentile_interval
from edge.audio import SAMPLE_RATE_HZ
from edge.buckets import Buckets
from edge.bundle import Bundle
from edge.doctor import self_test_waveform
from edge.encoder import Encoder
from edge.errors import ModelError
from edge.profiling.compare import LEVEL, medians
from edge.profiling.facts import Machine, usable_cores
from edge.profiling.measurements import Progress, Row
from edge.profiling.turns import Cell, Rounds, Stages, cell_row, measure_in_turn
from edge.providers import PROVIDERS
from edge.settings import EncoderSettings

TYPICAL_S = 3.0
"""An everyday utterance; batches are compared at the bucket that holds it."""
LEAST_REPEATS = 2


@dataclass
class Candidate:
    """One way to run one bundle."""

    bundle: Bundle
    settings: EncoderSettings
    failure: str = ""
    """Why it cannot run here; empty if it can."""
    rounds_ms: dict[Cell, Rounds] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What sets it apart."""
        manifest, settings = self.bundle.manifest, self.settings
        threads = "1 thread" if settings.threads == 1 else f"{settings.threads} threads"
        model = f"{manifest.name} {manifest.version} {manifest.encoder.precision} ({self.bundle.encoder_hash[:6]})"
        return f"{model}, {settings.provider}, {threads}"

    def rows(self) -> list[Row]:
        """Return what was measured."""
        return [cell_row("sweep", self.name, cell, rounds_ms) for cell, rounds_ms in self.rounds_ms.items()]

    def log_latencies(self, seed: int) -> Doubles:
        """Return ``float64[draws]``: log of the geometric mean latency of one utterance over the lengths."""
        single = [rounds for (_, batch), rounds in self.rounds_ms.items() if batch == 1]
        draws = [np.log(medians(rounds, seed=seed + index)) for index, rounds in enumerate(single)]
        means: Doubles = np.mean(draws, axis=0)
        return means

    def latency_ms(self) -> float:
        """Return that mean for the medians as measured."""
        single = [np.median(np.concatenate(rounds)) for (_, batch), rounds in self.rounds_ms.items() if batch == 1]
        return float(np.exp(np.mean(np.log(single))))


@dataclass(frozen=True)
class Sweep:
    """What was tried, and the choice."""

    candidates: tuple[Candidate, ...]
    best: Candidate
    max_batch: int


def sweep(
    bundles: Sequence[Bundle],
    settings: EncoderSettings,
    batches: Sequence[int],
    rounds: int,
    progress: Progress,
) -> Sweep:
    """Try every bundle on the provider of the settings, with 1, 2, 4 … threads on the CPU.

    ``auto`` is every provider that onnxruntime offers here.

    Best is the lowest latency of single utterances; among those that differ by no more than noise, the fewest threads.

    Raises:
        ModelError: no candidate runs.
    """
    candidates = [
        Candidate(bundle, settings.model_copy(update={"provider": provider, "threads": threads}))
        for bundle in bundles
        for provider in (available_providers() if settings.provider == "auto" else [settings.provider])
        for threads in (thread_counts(usable_cores()) if provider == "cpu" else [1])
    ]
    encoders = _load(candidates, progress)
    if not encoders:
        raise ModelError(f"nothing runs here: {'; '.join(candidate.failure for candidate in candidates)}")
    calls = {
        (index, cell): partial(_inference_ms, encoder, cell)
        for index, encoder in encoders.items()
        for cell in cells(encoder.buckets, batches)
    }
    found = measure_in_turn(calls, f"{len(encoders)} settings", rounds, progress, LEAST_REPEATS)
    for (index, cell), stages in found.items():
        candidates[index].rounds_ms[cell] = stages["encoder"]
    best = best_of([candidates[index] for index in encoders])
    return Sweep(tuple(candidates), best, best_batch(best))


def available_providers() -> list[str]:
    """Return our names of the providers that onnxruntime offers here."""
    offered = onnxruntime.get_available_providers()
    return [name for name, provider in PROVIDERS.items() if provider in offered]


def thread_counts(cores: int) -> list[int]:
    """Return 1, 2, 4 … up to all cores."""
    return sorted({min(2**power, cores) for power in range(cores.bit_length() + 1)})


def cells(buckets: Buckets, batches: Sequence[int]) -> list[Cell]:
    """Return the shortest, a typical and the longest bucket alone, and the typical one in batches."""
    typical = buckets.fit(min(round(TYPICAL_S * SAMPLE_RATE_HZ), buckets.longest))
    single = [(samples, 1) for samples in sorted({buckets.samples[0], typical, buckets.longest})]
    return single + [(typical, batch) for batch in batches if batch > 1]


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """Return the fastest for single utterances, or one with fewer threads that is not measurably slower."""
    fastest = min(candidates, key=Candidate.latency_ms)
    reference = fastest.log_latencies(seed=0)
    equal = [fastest]
    for candidate in candidates:
        low, _ = percentile_interval(candidate.log_latencies(seed=1_000) - reference, LEVEL)
        if candidate.bundle is fastest.bundle and low <= 0:
            equal.append(candidate)
    return min(equal, key=lambda candidate: (candidate.settings.threads, candidate.latency_ms()))


def best_batch(candidate: Candidate) -> int:
    """Return the smallest batch that takes measurably no more time for each utterance than the others."""
    per_utterance = {cell: rounds for cell, rounds in candidate.rounds_ms.items() if cell[0] == _typical(candidate)}
    draws = {batch: np.log(medians(rounds, seed=batch) / batch) for (_, batch), rounds in per_utterance.items()}
    fastest = min(draws, key=lambda batch: float(np.median(draws[batch])))
    reference = np.log(medians(per_utterance[_typical(candidate), fastest], seed=0) / fastest)
    lows = {batch: percentile_interval(drawn - reference, LEVEL)[0] for batch, drawn in draws.items()}
    return min(batch for batch, low in lows.items() if batch == fastest or low <= 0)


def as_settings(found: Sweep, machine: Machine, time_: str, folders: Mapping[str, Path]) -> str:
    """Return a settings file with the best, and the figures as comments.

    Args:
        found: the sweep.
        machine: it ran on.
        time_: when.
        folders: encoder hash to the folder of the bundles that were asked for; others are the one in the package.
    """
    best = found.best
    lines = [
        f"affectd profile --sweep, {time_}",
        f"{machine.cpu}, {machine.cores} cores, governor {machine.governor or 'unknown'}, {machine.system}",
        ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
        "Median of one inference. Speed only: how well a bundle recognises is in its model card.",
    ]
    for candidate in found.candidates:
        lines.append(f"{candidate.name}{': best' if candidate is best else ''}")
        lines += [f"- cannot run: {candidate.failure}"] if candidate.failure else []
        lines += [
            f"- {row.bucket_s:g} s x {row.batch}: {row.quantile(0.5):.2f} ms, n {row.n}" for row in candidate.rows()
        ]
    text = "".join(f"# {''.join(char if char.isprintable() else ' ' for char in line)}\n" for line in lines)
    values: dict[str, str | int] = {
        "provider": best.settings.provider,
        "threads": best.settings.threads,
        "max_batch": found.max_batch,
    }
    folder = folders.get(best.bundle.encoder_hash)
    if folder is not None:
        values = {"bundle": str(folder.resolve()), **values}
    table = "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())
    return f"{text}\n[encoder]\n{table}"


def _load(candidates: Sequence[Candidate], progress: Progress) -> dict[int, Encoder]:
    """Return loaded encoders by the position of their candidate; the others are given the reason."""
    encoders = {}
    for index, candidate in enumerate(candidates):
        progress(f"loading {candidate.name}")
        settings = candidate.settings.model_copy(update={"require_provider": True})
        encoder = Encoder.of(candidate.bundle, settings)
        try:
            encoder.load()
        except ModelError as error:
            candidate.failure = str(error)
        else:
            encoders[index] = encoder
    return encoders


def _inference_ms(encoder: Encoder, cell: Cell) -> Stages:
    samples, batch = cell
    waveforms = [self_test_waveform(samples / SAMPLE_RATE_HZ)] * batch
    started_s = time.perf_counter()
    encoder.embed(waveforms, samples)
    return {"encoder": (time.perf_counter() - started_s) * 1e3}


def _typical(candidate: Candidate) -> int:
    """Return the bucket that batches were compared at."""
    return cells(candidate.bundle.buckets, (2,))[-1][0]


def _toml(value: str | int) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
