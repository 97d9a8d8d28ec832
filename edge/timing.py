"""Where the time of an utterance goes: what the pipeline measures for a profiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

STAGES = ("endpoint", "capture", "vad", "queue", "encoder", "speaker", "adapt", "head", "publish")
"""In the order of the pipeline. ``queue`` to ``head`` are of the answer, which is as a rule ready in the silence that
``endpoint`` waits for; ``capture`` is of the end of that."""


@dataclass(frozen=True)
class Timing:
    """The time of one utterance. It does not hold who spoke, what about, or how they sounded."""

    speech_s: float
    """Duration of the utterance as the encoder got it."""
    audio_s: float
    """Audio since the utterance before this one, pauses included."""
    bucket_s: float
    together: int
    """Utterances that were taken from the queue with this one, itself included."""
    published_at_s: float
    """``time.monotonic()`` when every output had the event in its queue."""
    stage_ms: Mapping[str, float]
    """Stage to milliseconds, as in an event's ``latency_ms``, and two more: ``vad`` is voice activity detection and
    segmentation of all of ``audio_s`` (the end of it, which delays the event, is in ``capture`` as well); ``publish``
    hands the event to the outputs, which write it on their own time."""
    provisional_ms: float
    """From the end of speech until the answer was ready, before the speech was known to be over."""
    total_ms: float
    """The event's ``total``: from the end of speech until the event is ready to be published."""
    skipped: int
    """Utterances that the run has dropped so far because the encoder was too slow."""
    lost_s: float
    """Audio that the run has lost so far."""


Observer = Callable[[Timing], None]
"""Called on the inference thread after each utterance; it must return at once."""
