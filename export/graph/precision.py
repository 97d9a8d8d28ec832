"""The precision of a bundle's encoder; for int8 the way to quantise activations, chosen by measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.encoder import Encoder
from edge.errors import UsageError
from export.graph.half import to_half
from export.graph.parity import bucketed_embeddings, cosines
from export.graph.quantise import calibration_feeds, quantise_int8
from export.rounds import alternate

Precision = Literal["fp32", "fp16", "int8"]
Quantisation = Literal["dynamic", "static"]

TIMED_S = 3.0
ROUNDS = 21
SAME_COSINE = 0.002
SAME_LATENCY = 0.1
RULE = (
    f"the truer; where their cosines are within {SAME_COSINE:g} the faster; where their times are within "
    f"{SAME_LATENCY:.0%} static, whose embeddings do not depend on batch mates"
)


@dataclass(frozen=True)
class Speech:
    """Speech for quantisation, none of it of test speakers."""

    calibration: Sequence[Waveform]
    """Training utterances that set static ranges."""
    comparison: Sequence[Waveform]
    """Validation utterances that both ways are compared on."""


@dataclass(frozen=True)
class Trial:
    """One way to quantise activations, measured."""

    quantisation: Quantisation
    cosine: float
    """Mean cosine of its embeddings to those of the float graph."""
    latency_ms: float
    """Median for 3 s of audio, a batch of one, one thread."""


def write_encoder(
    source: Path,
    target: Path,
    precision: Precision,
    quantisation: Quantisation | None,
    speech: Speech,
    opened: Callable[[Path], Encoder],
) -> tuple[Quantisation | None, list[Trial]]:
    """Write a float graph in another precision, and return how int8 was quantised and what both ways measured.

    Args:
        source: float graph.
        target: graph to write.
        precision: int8 or fp16.
        quantisation: of int8. None: the better, by ``RULE``; without speech to measure them on, dynamic.
        speech: for int8.
        opened: loads a graph, on one thread.

    Raises:
        UsageError: static quantisation is asked for and there is nothing to calibrate it with.
    """
    if precision == "fp16":
        to_half(source, target)
        return None, []
    if quantisation is None and speech.calibration and speech.comparison:
        trials = quantise_better(source, target, speech, opened)
        return trials[0].quantisation, trials
    if quantisation == "static" and not speech.calibration:
        raise UsageError("static quantisation calibrates on training utterances, and there are none")
    waveforms = speech.calibration if quantisation == "static" else ()
    quantise_int8(source, target, calibration_feeds(waveforms, opened(source).buckets))
    return quantisation or "dynamic", []


def quantise_better(source: Path, target: Path, speech: Speech, opened: Callable[[Path], Encoder]) -> list[Trial]:
    """Quantise a float graph both ways, keep the better by ``RULE``, and return both trials, the better first."""
    floating = opened(source)
    buckets = floating.buckets
    paths: dict[Quantisation, Path] = {"dynamic": target, "static": target.with_suffix(".static")}
    quantise_int8(source, paths["dynamic"])
    quantise_int8(source, paths["static"], calibration_feeds(speech.calibration, buckets))
    encoders = {way: opened(path) for way, path in paths.items()}
    samples = buckets.fit(min(round(TIMED_S * SAMPLE_RATE_HZ), buckets.longest))
    waveform = np.resize(np.concatenate(list(speech.comparison)), samples)
    times = alternate({way: partial(encoder.embed, [waveform], samples) for way, encoder in encoders.items()}, ROUNDS)
    expected = bucketed_embeddings(floating, speech.comparison)
    dynamic, static = (
        Trial(
            way,
            float(cosines(bucketed_embeddings(encoder, speech.comparison), expected).mean()),
            times[way].median_ms,
        )
        for way, encoder in encoders.items()
    )
    if prefer_static(dynamic, static):
        paths["static"].replace(target)
        return [static, dynamic]
    paths["static"].unlink()
    return [dynamic, static]


def prefer_static(dynamic: Trial, static: Trial) -> bool:
    """Return whether static is better by ``RULE``; small differences, as of a busy machine, do not decide."""
    if abs(static.cosine - dynamic.cosine) > SAME_COSINE:
        return static.cosine > dynamic.cosine
    return static.latency_ms <= dynamic.latency_ms * (1 + SAME_LATENCY)
