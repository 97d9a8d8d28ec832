"""What a source did last, and what the machine does, as the broker keeps it for whoever comes later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge import __version__
from edge.doors.mqtt.topics import id_of
from edge.errors import encodable
from edge.event import Event

ENDS_VOICE = ("utterance", "skipped", "error", "paused", "stopped", "disconnected", "suspended")
"""Types of events, and reasons of ``status`` events, after which nobody is heard to speak any more."""


NO_ANSWER: Mapping[str, Any] = {
    "emotion": None,
    "confidence": None,
    "speaker": None,
    "needs_review": None,
    "scores": {},
    "values": {},
    "time": None,
}


class SourceState:
    """A source: its last answer, and what it hears."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._answer = dict(NO_ANSWER)
        self._number = 0
        """Of the event that the answer is from."""
        self._facts: dict[str, Any] = {"state": "waiting", "listening": "ON", "lost_s": 0.0}
        self._facts |= {"room": None, "room_utterances": None, "level_dbfs": None}
        self._voice = False

    def follow(self, event: Event) -> None:
        """Take one of its events."""
        if event.type == "speech_start":
            self._voice = True
        elif event.type in ENDS_VOICE or event.reason in ENDS_VOICE:
            self._voice = False
        if event.type == "utterance":
            self._number = event.number or 0
            self._answer = {
                "emotion": event.emotion,
                "confidence": None if event.confidence is None else round(event.confidence, 4),
                "speaker": encodable(event.speaker.name) if event.speaker else None,
                "needs_review": event.needs_review,
                "scores": {label: round(score, 4) for label, score in event.scores.items()},
                "values": event.to_dict().get("values", {}),
                "time": event.time,
            }

    def forget(self, number: int) -> None:
        """Drop an answer that names somebody, if it is of the events up to that number, among whom one is forgotten."""
        if self._number <= number and self._answer["speaker"] is not None:
            self._answer = dict(NO_ANSWER)

    def look(self, source: Mapping[str, Any], with_level: bool) -> None:
        """Take what ``status`` says of it.

        Args:
            source: as in ``Daemon.status``.
            with_level: also take how loud it is, which is always something else.
        """
        room = source["room"] or {}
        self._facts |= {
            "state": source["state"],
            "listening": "OFF" if source["state"] in ("paused", "ended") else "ON",
            "lost_s": source["lost_s"],
            "room": room.get("share"),
            "room_utterances": room.get("utterances"),
        }
        if with_level:
            self._facts["level_dbfs"] = round(source["level_dbfs"])

    def to_json(self) -> str:
        """Return it as a JSON object."""
        voice = "ON" if self._voice else "OFF"
        return dumped({"source": self.name, **self._facts, "voice": voice, **self._answer})


def machine_state(status: Mapping[str, Any], run: str, lost_events: int) -> str:
    """Return what the machine does, of ``Daemon.status``, as a JSON object; ``run`` is no other machine's."""
    return dumped(
        {
            "version": __version__,
            "bundle": f"{status['bundle']} {status['version']}",
            "started_at": status["started_at"],
            "run": run,
            "overload_step": status["overload_step"],
            "left_out": status["left_out"],
            "lost_s": round(status["dropped_s"], 1),
            "lost_events": lost_events,
            "sources": {id_of(source["name"]): source["name"] for source in status["sources"]},
        }
    )


def dumped(values: Mapping[str, Any]) -> str:
    """Return JSON that UTF-8 can hold, whatever is in a name."""
    return encodable(json.dumps(values, ensure_ascii=False))
