"""Events for a loop of the same process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from edge.event import Event

MAX_EVENTS = 1_000


class EventIterator:
    """Iterates over the events of a run in another thread, until the run ends or ``stop`` is called.

    Up to 1,000 events may wait here, also after the end of the run, before the output's own queue fills.
    """

    name = "iterator"

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._ended = self._stopped = False
        self._changed = threading.Condition()

    def open(self) -> None:
        """Nothing is to prepare."""

    def write(self, event: Event) -> None:
        """Wait for room; after ``stop`` events go nowhere."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._events) < MAX_EVENTS or self._stopped)
            if not self._stopped:
                self._events.append(event)
                self._changed.notify_all()

    def close(self) -> None:
        """End the iteration after the last event."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        """End the iteration now; callable from any thread and more than once."""
        with self._changed:
            self._ended = self._stopped = True
            self._events.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._ended)
            if not self._events:
                raise StopIteration
            self._changed.notify_all()
            return self._events.popleft()
