"""Each stage called by itself, at every length bucket and batch size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edge.audio import SAMPLE_RATE_HZ
from edge.capture import BLOCK_S
from edge.doctor import self_test_waveform
from edge.people.conversation import Conversation
from edge.profiling.measurements import Progress, Row
from edge.profiling.turns import Stages, cell_row, measure_in_turn
from edge.recognizer import Recognizer
from edge.settings import Settings
from edge.stream import new_segmenter


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
        progress: takes a line about each round.
    """
    cells = [(samples, batch) for samples in recognizer.buckets for batch in batches]
    calls = {cell: _call(recognizer, conversation, settings, *cell) for cell in cells}
    found = measure_in_turn(calls, "lengths and batches", rounds, progress)
    return [
        cell_row("direct", stage, cell, rounds_ms)
        for cell, stages in found.items()
        for stage, rounds_ms in stages.items()
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
