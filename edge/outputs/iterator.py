"""Events for a loop of the same process."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from edge.event import Event


class EventIterator:
    """Iterates over the events of a run in another thread, until the run ends or ``stop`` is called."""

    name = "iterator"

    def __init__(self) -> None:
        self._next: Event | None = None
        self._ended = self._stopped = False
        self._changed = threading.Condition()

    def open(self) -> None:
        """Nothing is to prepare."""

    def write(self, event: Event) -> None:
        """Wait until the event before this one is taken; after ``stop`` events go nowhere."""
        with self._changed:
            self._changed.wait_for(lambda: self._next is None or self._stopped)
            if not self._stopped:
                self._next = event
                self._changed.notify_all()

    def close(self) -> None:
        """End the iteration after the last event."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        """End the iteration now; callable from any thread and more than once."""
        with self._changed:
            self._stopped, self._next = True, None
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        with self._changed:
            self._changed.wait_for(lambda: self._next or self._ended or self._stopped)
            event, self._next = self._next, None
            if event is None:
                raise StopIteration
            self._changed.notify_all()
            return event
