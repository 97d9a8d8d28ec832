"""Each stage called by itself, at every length bucket and batch size."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from edge.audio import SAMPLE_RATE_HZ
from edge.capture import BLOCK_S
from edge.doctor import self_test_waveform
from edge.people.conversation import Conversation
from edge.pipeline import new_segmenter
from edge.profiling.measurements import Progress, Row, rounded
from edge.recognizer import Recognizer
from edge.settings import Settings

BUDGET_S = 0.15
"""Time for one length and batch size in one round."""
LEAST_REPEATS, MOST_REPEATS = 1, 30

Stages = dict[str, float]
"""Stage to milliseconds."""


def direct_rows(
    recognizer: Recognizer,
    conversation: Conversation,
    settings: Settings,
    batches: Sequence[int],
    rounds: int,
    progress: Progress,
) -> list[Row]:
    """Measure a voice-like signal that fills each bucket; rounds go over all buckets and batch sizes in turn.

    A batch is one inference. Voice activity detection, voiceprint, adaptation and head are not batched, so they are
    measured with batches of one.

    Args:
        recognizer: a loaded recogniser whose ``max_batch`` is at least that of ``batches``.
        conversation: of the household that is adapted to.
        settings: for voice activity detection.
        batches: utterances per inference.
        rounds: how often.
        progress: told about each round.
    """
    cells = [(samples, batch) for samples in recognizer.buckets for batch in batches]
    calls = {cell: _call(recognizer, conversation, settings, *cell) for cell in cells}
    repeats = {cell: _repeats(call) for cell, call in calls.items()}
    found: dict[tuple[int, int, str], list[list[float]]] = defaultdict(list)
    for number in range(rounds):
        progress(f"lengths and batches, round {number + 1} of {rounds}")
        for cell in cells:
            samples_ms = [calls[cell]() for _ in range(repeats[cell])]
            for stage in samples_ms[0]:
                found[cell[0], cell[1], stage].append([stages[stage] for stages in samples_ms])
    return [
        Row(
            part="direct",
            stage=stage,
            bucket_s=samples / SAMPLE_RATE_HZ,
            batch=batch,
            audio_s=samples / SAMPLE_RATE_HZ * batch * sum(map(len, measured)),
            rounds=tuple(map(rounded, measured)),
        )
        for (samples, batch, stage), measured in found.items()
    ]


def _call(
    recognizer: Recognizer, conversation: Conversation, settings: Settings, samples: int, batch: int
) -> Callable[[], Stages]:
    """Return what measures one length and batch size once."""
    waveform = self_test_waveform(samples / SAMPLE_RATE_HZ)
    if batch > 1:
        return lambda: {"encoder": recognizer.encode([waveform] * batch)[0].encoder_ms}
    voiceprints = recognizer.bundle.manifest.speaker is not None
    block = round(BLOCK_S * SAMPLE_RATE_HZ)

    def one() -> Stages:
        segmenter = new_segmenter(recognizer, settings)
        started_s = time.perf_counter()
        for start in range(0, samples, block):
            segmenter.push(waveform[start : start + block])
        vad_ms = (time.perf_counter() - started_s) * 1e3
        (encoding,) = recognizer.encode([waveform], voiceprints)
        latency_ms = conversation.recognize(encoding, 0.0, samples / SAMPLE_RATE_HZ).latency_ms
        if not voiceprints:
            del latency_ms["speaker"]
        return {"vad": vad_ms, **latency_ms}

    return one


def _repeats(call: Callable[[], Stages]) -> int:
    """Return how often a call fits into the budget; the first call of a shape tells whether it is worth another."""
    for _ in range(2):
        started_s = time.perf_counter()
        call()
        fit = int(BUDGET_S / (time.perf_counter() - started_s))
        if fit < LEAST_REPEATS:
            return LEAST_REPEATS
    return min(fit, MOST_REPEATS)
