"""Events about an utterance."""

from __future__ import annotations

from edge.event import Event, EventType, SkipReason, wall_clock
from edge.people.conversation import Recognition
from edge.segment import Segment
from edge.settings import Settings
from edge.stream import Utterance


def answer_event(
    event_type: EventType, source: str, id_: int, segment: Segment, recognition: Recognition, settings: Settings
) -> Event:
    """Return what is said about an utterance, but for its revision and latency."""
    return Event(
        event_type,
        source,
        wall_clock(),
        id=id_,
        start_s=segment.start_s,
        end_s=segment.end_s,
        emotion=recognition.emotion,
        confidence=recognition.confidence,
        scores=recognition.scores,
        relative=recognition.relative or None,
        values=recognition.values or None,
        speaker=recognition.speaker,
        adapted=recognition.adapted,
        room=recognition.room,
        speech=recognition.speech,
        needs_review=recognition.confidence < settings.decision.review_threshold or not recognition.is_speech,
        bucket_s=recognition.encoding.bucket_s,
        provider=recognition.encoding.provider,
        truncated=segment.truncated,
        dropped_s=segment.dropped_s,
    )


def skipped_event(utterance: Utterance, reason: SkipReason, message: str) -> Event:
    """Return what is said about an utterance that ends without an answer."""
    segment = utterance.segment
    return Event(
        "skipped",
        utterance.source,
        wall_clock(),
        id=utterance.id,
        start_s=segment.start_s,
        end_s=segment.end_s,
        dropped_s=segment.dropped_s,
        reason=reason,
        message=message,
    )
