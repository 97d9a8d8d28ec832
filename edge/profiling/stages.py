"""Rows out of the timing of utterances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge.profiling.measurements import Row, rounded
from edge.timing import STAGES, Timing

PROVISIONAL, ANSWER, TOTAL = "provisional", "answer", "total"
"""``provisional`` runs from the end of speech to the provisional answer, ``total`` to the final one, as in the events;
``answer`` from knowing that the speech is over to the final event being out."""
WAITING = frozenset({"endpoint", "capture", "queue", PROVISIONAL, ANSWER, TOTAL})
"""Stages that mostly wait for time to pass, so that a real-time factor says nothing of them."""


def pipeline_rows(rounds: Sequence[Sequence[Timing]]) -> list[Row]:
    """Return a row per stage over all utterances, then for each length bucket.

    Args:
        rounds: utterances by the replay that they are from.
    """
    rows = _rows(rounds, None)
    for bucket_s in sorted({timing.bucket_s for timings in rounds for timing in timings}):
        rows += _rows([[timing for timing in timings if timing.bucket_s == bucket_s] for timings in rounds], bucket_s)
    return rows


def answer_ms(timing: Timing) -> float:
    """Return the time from knowing that the speech is over to the event being out."""
    return timing.total_ms - timing.stage_ms["endpoint"] + timing.stage_ms["publish"]


def _rows(rounds: Sequence[Sequence[Timing]], bucket_s: float | None) -> list[Row]:
    rounds = [timings for timings in rounds if timings]
    if not rounds:
        return []
    speech_s = sum(timing.speech_s for timings in rounds for timing in timings)
    audio_s = sum(timing.audio_s for timings in rounds for timing in timings)
    return [
        Row(
            part="pipeline",
            stage=stage,
            bucket_s=bucket_s,
            audio_s=None if stage in WAITING else audio_s if stage == "vad" else speech_s,
            rounds=tuple(rounded(_stages_ms(timing)[stage] for timing in timings) for timings in rounds),
        )
        for stage in (*STAGES, PROVISIONAL, ANSWER, TOTAL)
    ]


def _stages_ms(timing: Timing) -> Mapping[str, float]:
    wholes = {PROVISIONAL: timing.provisional_ms, ANSWER: answer_ms(timing), TOTAL: timing.total_ms}
    return {**timing.stage_ms, **wholes}
