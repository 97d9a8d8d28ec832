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

    Who pauses by hand has their way until the hours begin or end the next time.
    """

    def __init__(self, now: Callable[[], datetime] = datetime.now, clock: Callable[[], float] = time.monotonic) -> None:
        self._now, self._clock = now, clock
        self._looked_at_s = -math.inf
        self._open: dict[str, bool] = {}
        """What was in force when it was looked last."""
        self._ends_at_s: dict[str, float] = {}
        """When the pause of a source is over."""

    def pause_for(self, sources: Iterable[str], duration_s: float | None) -> None:
        """Take note that sources were paused by hand, for so long, or until somebody goes on, whatever was before."""
        for source in sources:
            self._ends_at_s.pop(source, None)
            if duration_s is not None:
                self._ends_at_s[source] = self._clock() + duration_s

    def begin(self, source: str) -> None:
        """Take note that another stream has this name now, for which nothing is in force yet."""
        self._open.pop(source, None)
        self._ends_at_s.pop(source, None)
        self._looked_at_s = -math.inf

    def follow(self, streams: Streams, hours: Mapping[str, Hours]) -> None:
        """Look at the clock, and pause or go on as is due; ``hours`` are by the name of a source, in local time."""
        now_s = self._clock()
        if now_s - self._looked_at_s < LOOK_S:
            return
        self._looked_at_s = now_s
        for source in [source for source, at_s in self._ends_at_s.items() if at_s <= now_s]:
            del self._ends_at_s[source]
            _try(streams.go_on, source, "the pause is over")
        for source in [source for source in self._open if source not in hours]:
            if not self._open.pop(source):
                _try(streams.go_on, source, "it is listened to at any time now")
        now = self._now()
        for source, its_hours in hours.items():
            is_open = its_hours.include(now)
            if is_open == self._open.get(source, True):
                continue
            self._open[source] = is_open
            if is_open:
                _try(streams.go_on, source, "its hours begin")
            else:
                _try(streams.pause, source, f"outside of its hours, {its_hours}")


def _try(action: Callable[[str, str], object], source: str, why: str) -> None:
    """Do it, unless the source is gone."""
    with suppress(UsageError):
        action(source, why)
