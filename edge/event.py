"""Events, the output of affectd: one per utterance, schema 1, one JSON object per line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

SCHEMA = 1

EventType = Literal["utterance", "partial", "skipped", "status", "error"]


@dataclass(frozen=True)
class SpeakerMatch:
    """The enrolled person an utterance is attributed to."""

    name: str
    score: float
    """Probability that the attribution is right, 0 to 1."""


@dataclass(frozen=True)
class Event:
    """One line of output. Fields that do not apply to a type are left out of its JSON.

    All ``_s`` fields are seconds of the source's own clock; ``time`` is the wall clock in ISO 8601 with offset.
    """

    type: EventType
    """``utterance``: how it sounded and who spoke; ``skipped``: an utterance that a slow encoder let go; ``status``:
    what changed, such as ready and stopped; ``error``: a file or source that cannot be read; ``partial`` is
    reserved."""
    source: str
    """Name of the file, the microphone, or ``-``."""
    time: str
    start_s: float | None = None
    """First voiced sample of the utterance."""
    end_s: float | None = None
    """Last voiced sample of the utterance."""
    speaker: SpeakerMatch | None = None
    """The enrolled person who spoke; None: a stranger, or uncertain."""
    emotion: str | None = None
    """The most probable label."""
    confidence: float | None = None
    """Calibrated probability of ``emotion``."""
    scores: dict[str, float] = field(default_factory=dict)
    """Label to probability; sums to one over the bundle's labels."""
    needs_review: bool = False
    """The confidence is below the review threshold: ask a person."""
    adapted: bool = False
    """A voice profile was applied."""
    room: float = 0.0
    """Share of the room's estimate that was applied, 0 to 1: 0 while nothing is known of it, and the less for an
    enrolled person the more their voice profile, which has the room in it, is trusted."""
    bucket_s: float | None = None
    """Length the encoder ran at, after padding."""
    provider: str | None = None
    """Execution provider that the encoder really ran on."""
    latency_ms: dict[str, float] = field(default_factory=dict)
    """Stage to milliseconds; ``total`` runs from the end of speech to this event."""
    truncated: bool = False
    """The utterance was cut at the longest bucket; the next event continues it."""
    dropped_s: float = 0.0
    """Audio lost before this event because the consumer was too slow."""
    path: str | None = None
    """File the utterance is from (``affectd analyze``)."""
    message: str | None = None
    """Human-readable text of ``status``, ``skipped`` and ``error`` events."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object: ``schema`` after ``type``, and only the fields that mean something for the type."""
        spoken = self.type in ("utterance", "partial")
        values: dict[str, Any] = {"type": self.type, "schema": SCHEMA}
        for name, value in asdict(self).items():
            if name == "type" or (value is None and not (spoken and name == "speaker")):
                continue
            if not spoken and name not in _PLAIN_FIELDS:
                continue
            values[name] = _rounded(value)
        return values

    def to_json(self) -> str:
        """Return the event as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def wall_clock() -> str:
    """Return the local time with its offset from UTC, in ISO 8601 with milliseconds."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


_PLAIN_FIELDS = {"source", "time", "start_s", "end_s", "path", "message", "dropped_s"}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value
