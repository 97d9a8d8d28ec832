"""What a door leads to in tests: a house whose sources can be paused, and what is said there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.actions import name_in, source_in
from edge.doors import Inside
from edge.event import Event, wall_clock
from edge.recent import RecentEvents

LABELS = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")


class House:
    """Stands for a daemon: its sources can be paused, and their rooms reset."""

    def __init__(self, *names: str) -> None:
        self.levels = dict.fromkeys(names, -40.0)
        self.paused: set[str] = set()
        self.reset: list[str] = []
        self.waiting: set[str] = set()
        """Sources that have not begun."""
        actions = {"status": self.status, "pause": self.pause, "resume": self.resume, "reset_room": self.reset_room}
        self.inside = Inside({**actions, "reload": self.reload}, RecentEvents())

    def status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        facts = {"bundle": "tiny", "version": "1", "labels": list(LABELS), "started_at": "now", "overload_step": 0}
        room = {"utterances": 3.0, "share": 0.25, "distance": 1.0}
        sources = [
            {"name": name, "state": self._state(name), "lost_s": 0.0, "level_dbfs": level, "room": room}
            for name, level in self.levels.items()
        ]
        facts["values"] = [{"name": "arousal", "low": -1.0, "high": 1.0, "origin": "annotated"}]
        return {**facts, "left_out": "nothing is left out", "dropped_s": 0.0, "sources": sources}

    def pause(self, request: Mapping[str, Any]) -> dict[str, Any]:
        names = self._named(request)
        self.paused.update(names)
        return {"paused": names}

    def resume(self, request: Mapping[str, Any]) -> dict[str, Any]:
        names = self._named(request)
        self.paused.difference_update(names)
        return {"resumed": names}

    def reset_room(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.reset.append(name_in(request, "source"))
        return {"reset": self.reset[-1:]}

    def reload(self, request: Mapping[str, Any]) -> dict[str, Any]:
        raise AssertionError("nobody may ask for that from elsewhere")

    def _named(self, request: Mapping[str, Any]) -> list[str]:
        source = source_in(request)
        return list(self.levels) if source is None else [source]

    def _state(self, name: str) -> str:
        return "paused" if name in self.paused else "waiting" if name in self.waiting else "listening"


def answer(number: int, source: str = "hall", emotion: str = "sad", **more: Any) -> Event:
    """Return a final answer."""
    scores = {"neutral": 0.1, "happy": 0.2, "sad": 0.7}
    values = {"start_s": 1.0, "end_s": 2.5, "confidence": 0.7012345, "scores": scores, **more}
    return Event("utterance", source, wall_clock(), number, id=number, revision=2, emotion=emotion, **values)
