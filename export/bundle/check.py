"""Checks of embeddings and figures: the same while a bundle is written and, at any time after, on the finished one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from calibrate.trained import Answers
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.buckets import Buckets
from edge.bundle import Bundle, EncoderRecord
from edge.encoder import Encoder
from edge.errors import ModelError
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings
from export.bundle.drop import drops
from export.graph.parity import batch_error, bucketed_embeddings, cosines, padding_errors

LEAST_COSINE = {"fp32": 0.999, "fp16": 0.999, "int8": 0.95}
LOW_PERCENTILE = 5
LEAST_LOW_COSINE = 0.99
"""Of int8, at the percentile: its rounding hits some utterances harder, and the worst of many is always worse than the
worst of few. What hardly any utterance may fall below is therefore held strictly, and the very worst, which betrays a
graph that is wrong somewhere, loosely."""
# Padding never enters the arithmetic, but the float result differs in its last bit with the shape, and half precision
# and int8 round some of these bits up: of dynamic int8, whose ranges move along, a tenth of its own rounding error.
MOST_PADDING_ERROR = {"fp32": 1e-3, "fp16": 2e-3, "int8": 2e-3}
MOST_DYNAMIC_PADDING_ERROR = 2e-2
MOST_DYNAMIC_BATCH_ERROR = 0.15
"""Dynamic int8 has one range for a whole batch: the loudest activation in it sets the rounding of all."""
MOST_UA_DROP = 0.01
LEAST_CHANCE = 0.05
"""A larger drop is refused where chance explains it less often: of 40 answers a single one is 2.5 points."""
MOST_VALUE_MOVE = 0.05
AT_BUCKET = " at "
TIMED_S = 3.0
"""Audio that latencies and operations are for, where a bucket holds it."""


@dataclass(frozen=True)
class Check:
    """One condition of a good bundle."""

    name: str
    figure: float | str
    limit: str
    """What is allowed, or why nothing was judged."""
    passed: bool | None
    """None: not judged."""

    def __str__(self) -> str:
        if isinstance(self.figure, str):
            return self.figure
        return f"{self.figure:.4f}" if 0.1 <= abs(self.figure) < 1 else f"{self.figure:.3g}"

    def as_json(self) -> dict[str, object]:
        """Return the row for machines; JSON has no figure that is not a number."""
        lost = isinstance(self.figure, float) and not math.isfinite(self.figure)
        return asdict(self) | {"figure": str(self) if lost else self.figure}


def at_least(name: str, figure: float, limit: float) -> Check:
    """Return a check that a figure reaches a limit; what is not a number does not."""
    return Check(name, figure, f">= {limit:g}", bool(figure >= limit))


def at_most(name: str, figure: float, limit: float) -> Check:
    """Return a check that a figure stays within a limit; what is not a number does not."""
    return Check(name, figure, f"<= {limit:g}", bool(figure <= limit))


def skipped(name: str, reason: str) -> Check:
    """Return the row of what was not checked."""
    return Check(name, "", f"skipped: {reason}", None)


def failures(checks: Sequence[Check]) -> str:
    """Return what failed and by how much, in one line; empty where nothing did."""
    return "; ".join(f"{check.name} is {check}, allowed is {check.limit}" for check in checks if check.passed is False)


def in_brief(checks: Sequence[Check]) -> list[Check]:
    """Return the checks with one row, that of the worst bucket, where every bucket has its own."""
    groups: dict[str, list[Check]] = {}
    for check in checks:
        groups.setdefault(check.name.partition(AT_BUCKET)[0], []).append(check)
    return [
        # np.max, unlike max, does not lose a figure that is not a number.
        Check(name, float(np.max([row.figure for row in rows])), rows[0].limit, all(row.passed for row in rows))
        if AT_BUCKET in rows[0].name
        else rows[0]
        for name, rows in groups.items()
    ]


def opened(bundle: Bundle, threads: int) -> Recognizer:
    """Return a recogniser on the CPU with every graph of a bundle loaded."""
    recognizer = Recognizer(bundle, EncoderSettings(provider="cpu", threads=threads))
    recognizer.load(voiceprints=bundle.manifest.speaker is not None, every_bucket=True)
    return recognizer


def timed_samples(buckets: Buckets) -> int:
    """Return the samples of the bucket that ``TIMED_S`` runs in."""
    return buckets.fit(min(round(TIMED_S * SAMPLE_RATE_HZ), buckets.longest))


def check_parity(
    recognizer: Recognizer, waveforms: Sequence[Waveform], expected: Matrix, reference: str
) -> list[Check]:
    """Compare embeddings, each utterance padded to its own bucket, with ``float32[n, dim]`` of a float version."""
    precision = recognizer.bundle.manifest.encoder.precision
    found = cosines(bucketed_embeddings(recognizer.encoder, waveforms), expected)
    least = at_least(f"least cosine of {precision} to {reference}", float(found.min()), LEAST_COSINE[precision])
    if precision != "int8":
        return [least]
    low = float(np.percentile(found, LOW_PERCENTILE))
    name = f"{LOW_PERCENTILE}th percentile of the cosines of {precision} to {reference}"
    return [least, at_least(name, low, LEAST_LOW_COSINE)]


def check_invariance(recognizer: Recognizer, waveforms: Sequence[Waveform]) -> list[Check]:
    """Compare embeddings with themselves: padded with noise, a row for every bucket, and among batch mates."""
    encoder, precision = recognizer.encoder, recognizer.bundle.manifest.encoder.precision
    padding, batch = _most_errors(recognizer.bundle.manifest.encoder)
    return [
        *_padding(f"padding error of {precision}", encoder, waveforms, padding),
        at_most(f"batch mates move {precision} by", batch_error(encoder, waveforms), batch),
    ]


def check_voiceprints(recognizer: Recognizer, waveforms: Sequence[Waveform]) -> list[Check]:
    """Return how far padding moves a voiceprint at the worst bucket; nothing where a bundle has none."""
    encoder = recognizer.speaker_encoder
    if encoder is None:
        return []
    return in_brief(_padding("padding error of voiceprints", encoder, waveforms, MOST_PADDING_ERROR["fp32"]))


def check_drop(floating: Answers, found: Answers) -> list[Check]:
    """Return for every corpus what the final precision costs: at most so much, or no more than chance explains."""
    checks = []
    for corpus, drop in drops(floating, found).items():
        check = at_most(f"UA drop on {corpus}", drop.ua, MOST_UA_DROP)
        if not check.passed:
            limit = f"{check.limit}, or p >= {LEAST_CHANCE:g}; {drop}"
            check = replace(check, limit=limit, passed=drop.chance >= LEAST_CHANCE)
        checks.append(check)
    return checks


def check_values(floating: Answers, found: Answers, bundle: Bundle) -> list[Check]:
    """Return how far the final precision moves each value from the float version's, on average over utterances."""
    if floating.values is None or found.values is None:
        return []
    moved = np.abs(found.values - floating.values).mean(axis=0)
    return [
        at_most(f"{value.name} moves by, share of its range", float(each) / (value.high - value.low), MOST_VALUE_MOVE)
        for value, each in zip(bundle.manifest.values, moved, strict=True)
    ]


def check_size(folder: Path, max_mb: float) -> Check:
    """Return whether the whole of a bundle is small enough."""
    return at_most("megabytes", sum(path.stat().st_size for path in folder.iterdir()) / 1e6, max_mb)


def limit_size(folder: Path, max_mb: float | None) -> None:
    """Refuse a bundle that is too large; None is no limit.

    Raises:
        ModelError: it is too large; the message names the largest files.
    """
    if max_mb is None or check_size(folder, max_mb).passed:
        return
    sizes = sorted(((path.stat().st_size / 1e6, path.name) for path in folder.iterdir()), reverse=True)
    listed = ", ".join(f"{name} {size:.2f}" for size, name in sizes[:3])
    raise ModelError(f"the bundle has {sum(size for size, _ in sizes):.2f} MB of at most {max_mb:g}: {listed}, …")


def _padding(name: str, encoder: Encoder, waveforms: Sequence[Waveform], most: float) -> list[Check]:
    errors = padding_errors(encoder, waveforms)
    return [at_most(f"{name}{AT_BUCKET}{bucket_s:g} s", error, most) for bucket_s, error in errors.items()]


def _most_errors(record: EncoderRecord) -> tuple[float, float]:
    """Return how far padding and batch mates may move an embedding."""
    if record.precision == "int8" and record.quantisation != "static":
        return MOST_DYNAMIC_PADDING_ERROR, MOST_DYNAMIC_BATCH_ERROR
    return (MOST_PADDING_ERROR[record.precision],) * 2
