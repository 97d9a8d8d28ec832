"""The latest events of a run, for whoever comes late, comes back, or reads slowly."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable
from itertools import islice

from edge.event import Event

MOST = 2_000


class RecentEvents:
    """The latest events, by ``Event.number``. Any number may read, each at its own pace, and nobody waits for them.

    A reader keeps the number of the last event that it has; who falls behind further than this reaches misses events,
    and is told how many.
    """

    def __init__(self, most: int = MOST) -> None:
        """Prepare to keep the latest ``most`` events."""
        self.run = secrets.token_hex(4)
        """Of all runs, the one that these numbers are of."""
        self._lines: deque[tuple[int, str]] = deque(maxlen=most)
        self._last = self._cleared = 0
        self._listeners: list[Callable[[], None]] = []
        self._changed = threading.Condition()

    def add(self, event: Event) -> None:
        """Take the next event, which has a number; for the thread that recognises."""
        assert event.number is not None
        line = event.to_json()
        with self._changed:
            self._lines.append((event.number, line))
            self._last = event.number
            self._changed.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    @property
    def last(self) -> int:
        """Number of the latest event, 0 before the first; from any thread."""
        with self._changed:
            return self._last

    @property
    def cleared(self) -> int:
        """Number of the latest event that was cleared, 0 before the first; from any thread."""
        with self._changed:
            return self._cleared

    def clear(self) -> None:
        """Keep none of the events so far; those who have not read them are told that they are gone. From any thread."""
        with self._changed:
            self._lines.clear()
            self._cleared = self._last

    def after(self, number: int, timeout_s: float = 0.0, most: int | None = None) -> tuple[list[tuple[int, str]], int]:
        """Return the events after that number, each as its number and JSON, and how many before them are gone.

        From any thread. Without any it waits ``timeout_s`` for one; of many it returns the first ``most``.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._lines and self._lines[-1][0] > number, timeout_s)
            if not self._lines or self._lines[-1][0] <= number:
                return [], 0
            first = self._lines[0][0]
            begin = max(0, number + 1 - first)
            found = islice(self._lines, begin, None if most is None else begin + most)
            return list(found), max(0, first - number - 1)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have ``listener`` called after each event, where it must not wait; return what ends that. From any thread."""
        with self._changed:
            self._listeners.append(listener)

        def end() -> None:
            with self._changed:
                self._listeners.remove(listener)

        return end
