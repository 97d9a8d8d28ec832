"""Changes of when to listen: the hours of each source, and pauses that end by themselves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime

from edge.errors import UsageError
from edge.settings import Hours
from edge.streams import Streams

LOOK_S = 1.0


class Schedule:
    """Pauses sources outside of their hours, and ends pauses. For the thread that recognises.

    Who paused by hand is not listened to until they resume or their time is up, whatever the hours say. Who resumed by
    hand outside of the hours is listened to until the hours begin or end the next time.
    """

    def __init__(self, now: Callable[[], datetime] = datetime.now, clock: Callable[[], float] = time.monotonic) -> None:
        self._now, self._clock = now, clock
        self._looked_at_s = -math.inf
        self._open: dict[str, bool] = {}
        """What was in force when it was looked last."""
        self._paused_until_s: dict[str, float] = {}
        """When a pause by hand is over."""

    def pause(self, sources: Iterable[str], duration_s: float | None) -> None:
        """Take note that sources were paused by hand, for so long or until ``resume``, whatever was before."""
        until_s = math.inf if duration_s is None else self._clock() + duration_s
        self._paused_until_s.update(dict.fromkeys(sources, until_s))

    def resume(self, sources: Iterable[str]) -> None:
        """Take note that somebody went on with sources."""
        for source in sources:
            self._paused_until_s.pop(source, None)

    def begin(self, source: str) -> None:
        """Take note that another stream has this name now, for which nothing is in force yet."""
        self._open.pop(source, None)
        self._paused_until_s.pop(source, None)
        self._looked_at_s = -math.inf

    def follow(self, streams: Streams, hours: Mapping[str, Hours]) -> None:
        """Look at the clock, and pause or go on as is due; ``hours`` are by the name of a source, in local time."""
        now_s = self._clock()
        if now_s - self._looked_at_s < LOOK_S:
            return
        self._looked_at_s = now_s
        self._follow_hours(streams, hours)
        for source, until_s in list(self._paused_until_s.items()):
            if until_s <= now_s:
                del self._paused_until_s[source]
                if self._open.get(source, True):
                    _try(streams.go_on, source, "the pause is over")

    def _follow_hours(self, streams: Streams, hours: Mapping[str, Hours]) -> None:
        for source in [source for source in self._open if source not in hours]:
            if not self._open.pop(source) and source not in self._paused_until_s:
                _try(streams.go_on, source, "it is listened to at any time now")
        now = self._now()
        for source, its_hours in hours.items():
            is_open = its_hours.include(now)
            if is_open == self._open.get(source, True):
                continue
            self._open[source] = is_open
            if not is_open:
                _try(streams.pause, source, f"outside of its hours, {its_hours}")
            elif source not in self._paused_until_s:
                _try(streams.go_on, source, "its hours begin")


def _try(action: Callable[[str, str], object], source: str, why: str) -> None:
    """Do it, unless the source is gone."""
    with suppress(UsageError):
        action(source, why)
