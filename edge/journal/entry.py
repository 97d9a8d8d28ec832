"""What the journal keeps of an utterance, and of what else happened."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from edge.event import Event

UTTERANCE = "utterance"


@dataclass(frozen=True)
class Answer:
    """How an utterance sounded. Fields mean what they do in an ``Event``."""

    emotion: str
    confidence: float
    scores: dict[str, float]
    duration_s: float
    """From the first to the last voiced sample."""
    needs_review: bool
    speech: float | None = None
    relative: dict[str, float] | None = None
    certainty: float | None = None
    """Probability that it is from the person it is attributed to; None of strangers."""

    @classmethod
    def of(cls, event: Event) -> Answer:
        """Return what is kept of an ``utterance``."""
        values = event.to_dict()
        return cls(
            emotion=values["emotion"],
            confidence=values["confidence"],
            scores=values["scores"],
            duration_s=round(values["end_s"] - values["start_s"], 2),
            needs_review=values["needs_review"],
            speech=values.get("speech"),
            relative=values.get("relative"),
            certainty=round(event.speaker.score, 4) if event.speaker else None,
        )

    @classmethod
    def from_json(cls, data: bytes) -> Answer:
        """Return what ``to_json`` wrote."""
        return cls(**json.loads(data))

    def to_json(self) -> bytes:
        """Return the JSON that is sealed."""
        kept = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True)
class Entry:
    """A row of the journal."""

    time: datetime
    """Local, with its offset."""
    source: str
    fact: str
    """``utterance``, the ``reason`` of a ``skipped`` or ``status``, or ``error``."""
    person: str | None
    """Id, in the speaker store, of the enrolled person who spoke; None: a stranger, or uncertain."""
    answer: Answer | None
    """Of an utterance; None: it was sealed with another key."""
