"""Events, the output of affectd, schema 2: what becomes of each utterance, one JSON object per line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from edge.errors import encodable
from edge.values import Value

SCHEMA = 2

EventType = Literal["speech_start", "partial", "provisional", "resumed", "utterance", "skipped", "status", "error"]
SkipReason = Literal["too_slow", "other_voice"]
StatusReason = Literal[
    "ready",
    "stopped",
    "people_changed",
    "profile_refined",
    "store_trouble",
    "room_changed",
    "output_trouble",
    "digital_silence",
    "below_gate",
    "channels_cancel",
    "dead_channel",
    "clipping",
    "recovered",
    "repaired",
    "partial",
    "no_speech",
    "connected",
    "disconnected",
    "paused",
    "continued",
    "suspended",
    "overload",
    "settings_changed",
]

EARLY: tuple[EventType, ...] = ("speech_start", "provisional", "resumed")
"""What ``events.early`` is about."""


@dataclass(frozen=True)
class SpeakerMatch:
    """The enrolled person an utterance is attributed to."""

    name: str
    score: float
    """Probability that the attribution is right, 0 to 1."""


@dataclass(frozen=True)
class Event:
    """One line of output. Fields that a type does not have are left out of its JSON.

    All ``_s`` fields are seconds of the source's own clock; ``time`` is the wall clock in ISO 8601 with offset.
    """

    type: EventType
    """``speech_start``: somebody speaks; ``partial``: how they sound so far; ``provisional``: how an utterance sounded,
    in a pause that may end it; ``resumed``: they went on, and the provisional answer is withdrawn; ``utterance``: it
    is over, and the last provisional answer is final; ``skipped``: it is over without an answer; ``status``: what
    changed, such as ready and stopped; ``error``: a file or source that cannot be read."""
    source: str
    """Name of the file, the microphone, or ``-``."""
    time: str
    """Of this event, by the wall clock."""
    number: int | None = None
    """Counts the events of a run of `affectd run` from 1, the same at every output and door; where one is missing, it
    was lost on the way."""
    id: int | None = None
    """Of the utterance, the same in all its events and in none of another utterance's of the run. Its last event is an
    ``utterance`` or ``skipped``."""
    revision: int | None = None
    """Counts the events of an utterance from 0: the higher one holds."""
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
    relative: dict[str, float] | None = None
    """Label to how far its log-odds are above what is usual for ``speaker``, the mean of their enrolment clips; absent
    of strangers."""
    values: dict[str, Value] | None = None
    """Name (``arousal``, ``valence``, ``dominance``, ``intensity``) to ``value`` with its range, ``low`` to ``high``;
    absent where the bundle answers labels only."""
    speech: float | None = None
    """Probability that it is speech, and not a cough, a dog or a door; absent where the bundle cannot tell."""
    needs_review: bool = False
    """The confidence is below the review threshold, or this is rather no speech: ask a person."""
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
    """Stage to milliseconds. ``total`` runs from the end of speech to this event. In an ``utterance`` of `affectd run`
    ``provisional`` runs from there to the answer, which took ``queue`` to ``head`` and was as a rule there within
    ``endpoint``."""
    truncated: bool = False
    """The utterance was cut at the longest bucket; the next event continues it."""
    dropped_s: float = 0.0
    """Audio lost before the utterance because the consumer was too slow."""
    path: str | None = None
    """File that it is about (``affectd analyze``)."""
    reason: SkipReason | StatusReason | None = None
    """Why an utterance was skipped, ``too_slow``: the encoder did not keep up, ``other_voice``: it is from nobody of
    those whom the source is bound to; or what a ``status`` is about. From ``digital_silence`` to ``clipping`` it is why
    nobody is heard, until ``recovered``. Of a live source, ``disconnected``: its device or client is
    gone, and waited for; ``connected``: it is there (again); ``paused`` and ``continued``: by command or schedule;
    ``suspended``: the machine was asleep. ``overload``: less is done for each utterance, or more again;
    ``settings_changed``: they were read again. Of a file or stream, ``repaired``: samples that were no sound are
    interpolated; ``partial``: not all of it is there, or can be read; ``no_speech``: it has no utterance. Where a file
    is one utterance (``--whole-file``) the gravest of these stands in the utterance."""
    message: str | None = None
    """The same for people."""

    def to_dict(self) -> dict[str, Any]:
        r"""Return the JSON object: ``type``, ``schema``, and the fields that the type has; no null but ``speaker``.

        A name that is no UTF-8 is in it as what a terminal shows, such as ``caf\udce9.wav``; in the event itself it is
        the one that opens the file.
        """
        values = asdict(self)
        found = {name: _plain(values[name]) for name in FIELDS[self.type]}
        kept = {name: value for name, value in found.items() if value is not None or name == "speaker"}
        return {"type": self.type, "schema": SCHEMA} | kept

    def to_json(self) -> str:
        """Return the event as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


_ANY = ("source", "time", "number")
_OF_UTTERANCE = (*_ANY, "id", "revision", "start_s")
_ANSWER = (
    *_OF_UTTERANCE,
    "end_s",
    "speaker",
    "emotion",
    "confidence",
    "scores",
    "relative",
    "values",
    "speech",
    "needs_review",
    "adapted",
    "room",
    "bucket_s",
    "provider",
    "latency_ms",
    "truncated",
    "dropped_s",
    "path",
)
FIELDS: dict[EventType, tuple[str, ...]] = {
    "speech_start": _OF_UTTERANCE,
    "partial": _ANSWER,
    "provisional": _ANSWER,
    "resumed": (*_OF_UTTERANCE, "end_s"),
    "utterance": (*_ANSWER, "reason", "message"),
    "skipped": (*_OF_UTTERANCE, "end_s", "dropped_s", "reason", "message"),
    "status": (*_ANY, "path", "reason", "message"),
    "error": (*_ANY, "path", "message"),
}
"""What each type has in its JSON, besides ``type`` and ``schema``."""
OPTIONAL_FIELDS: dict[EventType, tuple[str, ...]] = {
    **dict.fromkeys(FIELDS, ("number", "path", "relative", "values", "speech")),
    "utterance": ("number", "path", "relative", "values", "speech", "reason", "message"),
}
"""Of these, what only some events of a type have."""


def status(source: str, reason: StatusReason, message: str) -> Event:
    """Return a ``status`` event of now."""
    return Event("status", source, wall_clock(), reason=reason, message=message)


def wall_clock() -> str:
    """Return the local time with its offset from UTC, in ISO 8601 with milliseconds."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
