"""One output behind a bounded queue that a thread of its own empties."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeGuard

from edge.event import Event
from edge.meter import Meter
from edge.outputs.base import Display, Output, Patient, Recoverable

RETRY_S = 1.0
"""From one attempt to write again, after an error, to the next."""
REFRESH_S = 0.2
"""A display is refreshed when no event has come for this long."""


class OutputQueue:
    """One output behind a queue that its own thread empties."""

    def __init__(
        self, output: Output, wait: bool, max_events: int, report: Callable[[str], None], meters: Sequence[Meter] | None
    ) -> None:
        self.name = output.name
        self.lost = 0
        self.error: BaseException | None = None
        self.opened = threading.Event()
        """It is open, or has failed."""
        self.output, self._wait, self._max_events, self._report = output, wait, max_events, report
        self._display = output if meters is not None and can_refresh(output) else None
        self._meters: Sequence[Meter] = () if meters is None else meters
        self._events: deque[Event] = deque()
        self._in_hand = 0
        """Events that are being written: 0 or 1."""
        self._ended = self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"output {self.name}", daemon=True)

    def start(self) -> None:
        """Open the output, in its own thread."""
        self._thread.start()

    def put(self, event: Event) -> None:
        """Queue an event, or lose the oldest."""
        with self._changed:
            self._changed.wait_for(lambda: not self._wait or self.error or len(self._events) < self._max_events)
            begins_to_lose = False
            if self.error:
                self.lost += 1
                return
            if len(self._events) == self._max_events:
                self._events.popleft()
                begins_to_lose = not self.lost
                self.lost += 1
            self._events.append(event)
            self._changed.notify_all()
        if begins_to_lose:
            self._report(f"output {self.name} is too slow: events are lost")

    def end(self) -> None:
        """Let the thread end when the queue is empty."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until everything is written, as long as it may take."""
        with self._changed:
            self._changed.wait_for(lambda: not self._wait or self.error or self._closed)

    def stop_waiting(self) -> None:
        """Make ``put`` and ``wait`` return."""
        with self._changed:
            self._wait = False
            self._changed.notify_all()

    def join(self, until_s: float) -> None:
        """Wait for the end of the thread until a time of the monotonic clock; what is not written then is lost."""
        self._thread.join(max(0.0, until_s - time.monotonic()))
        with self._changed:
            late = len(self._events) + self._in_hand
            self.lost += late
            self._events.clear()
            self._in_hand = 0
        if late:
            self._report(f"output {self.name} is too slow: its last {late} events are lost")

    def _run(self) -> None:
        try:
            self._open()
            self.opened.set()
            for event in self._arriving():
                if event:
                    self._write(event)
                elif self._display:
                    self._display.refresh(self._meters)
        except BaseException as error:  # SystemExit too: who waits for the thread is to know
            self._fail(error)
        try:
            self.output.close()
        except BaseException as error:
            self._fail(error)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _open(self) -> None:
        """Open the output; one that is patient as often as it takes, until the end, while live sources run."""
        try:
            self.output.open()
        except Exception as error:
            if self._wait or not is_patient(self.output):
                raise
            self.opened.set()  # nobody waits for it
            self._report(f"output {self.name} fails, and is tried again: {reason_of(error)}")
            while not self._is_open_now():
                with self._changed:
                    if self._changed.wait_for(lambda: self._ended, RETRY_S):
                        raise
            self._report(f"output {self.name} works")

    def _is_open_now(self) -> bool:
        try:
            self.output.open()
        except Exception:
            return False
        return True

    def _write(self, event: Event) -> None:
        """Write an event; where the output can recover from an error, as often as it takes, until the end."""
        try:
            self.output.write(event)
        except Exception as error:
            if self._wait or not can_recover(self.output):
                raise
            self._report(f"output {self.name} fails, and is tried again: {reason_of(error)}")
            while not self._is_written_again(self.output, event):
                with self._changed:
                    if self._changed.wait_for(lambda: self._ended, RETRY_S):
                        raise
            self._report(f"output {self.name} works again")

    def _is_written_again(self, output: Recoverable, event: Event) -> bool:
        try:
            output.recover()
            output.write(event)
        except Exception:
            return False
        return True

    def _arriving(self) -> Iterator[Event | None]:
        """Yield events as they come, until the end; for a display also None whenever none has come for a while."""
        while True:
            event = None
            with self._changed:
                self._in_hand = 0
                self._changed.wait_for(lambda: self._events or self._ended, REFRESH_S if self._display else None)
                if self._events:
                    self._in_hand, event = 1, self._events.popleft()
                    self._changed.notify_all()
                elif self._ended:
                    return
            yield event

    def _fail(self, error: BaseException) -> None:
        """Count what is queued as lost, as everything that follows; the first error is the reason."""
        with self._changed:
            if self.error:
                return
            self.error = error
            self.lost += len(self._events) + self._in_hand
            self._events.clear()
            self._in_hand = 0
            self._changed.notify_all()
        self.opened.set()
        self._report(f"output {self.name} failed: {reason_of(error)}")


def can_refresh(output: Output) -> TypeGuard[Display]:
    """Return whether somebody looks at an output between events."""
    return isinstance(output, Display) and output.can_refresh


def is_patient(output: Output) -> TypeGuard[Patient]:
    """Return whether an output that cannot be opened is tried again."""
    return isinstance(output, Patient) and output.is_patient


def can_recover(output: Output) -> TypeGuard[Recoverable]:
    """Return whether an output goes on after an error."""
    return isinstance(output, Recoverable) and output.can_recover


def reason_of(error: BaseException) -> str:
    """Return why an output failed, in a few words."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
