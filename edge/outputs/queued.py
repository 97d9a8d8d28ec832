"""Outputs at work: each has its own bounded queue and thread, so that none delays or ends what the events come from."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TypeGuard

from edge.errors import AffectdError, OutputError
from edge.event import Event
from edge.meter import Meter
from edge.outputs.base import Display, Output

MAX_EVENTS = 1_000
FLUSH_S = 5.0
"""What is queued at the end is written within this time, or lost."""
REFRESH_S = 0.2
"""A display is refreshed when no event has come for this long."""


class Outputs:
    """All outputs of a run. Every output gets the events in the order in which they are written."""

    def __init__(
        self,
        outputs: Sequence[Output],
        wait: bool = False,
        report: Callable[[str], None] = lambda message: None,
        max_events: int = MAX_EVENTS,
        meters: Sequence[Meter] | None = None,
    ) -> None:
        """Prepare.

        Args:
            outputs: where events go; none is fine.
            wait: a full queue makes ``write`` wait, and nothing is lost; otherwise the oldest event in it is dropped.
            report: called, from any thread, with what is wrong when an output fails or begins to lose events.
            max_events: that may wait for each output.
            meters: of the sources, for displays, and as there are at the time; without them, they are not refreshed.
        """
        self._queues = [_OutputQueue(output, wait, max_events, report, meters) for output in outputs]

    def open(self) -> None:
        """Start to open the outputs, each in its own thread."""
        for queue in self._queues:
            queue.start()

    def write(self, event: Event) -> None:
        """Hand an event to every output that works.

        Raises:
            AffectdError, BrokenPipeError: none is left that works.
        """
        for queue in self._queues:
            queue.put(event)
        self.check()

    def close(self, flush_s: float | None = None) -> None:
        """Let the outputs write what is queued, within ``flush_s`` seconds (``FLUSH_S``) unless they are waited for."""
        for queue in self._queues:
            queue.end()
        for queue in self._queues:
            queue.wait()
        until_s = time.monotonic() + (FLUSH_S if flush_s is None else flush_s)
        for queue in self._queues:
            queue.join(until_s)

    def stop_waiting(self) -> None:
        """Wait for no output any longer, so that a stuck one cannot hold up the end; from any thread or signal."""
        for queue in self._queues:
            queue.stop_waiting()

    def check(self) -> None:
        """Raise the error of an output when none is left that works."""
        if not self.works:
            self.raise_failure()

    def raise_failure(self) -> None:
        """Wait until every output is open or has failed, and raise the error of the first that has failed.

        Raises:
            BrokenPipeError: the reader has gone.
            AffectdError: anything else.
        """
        for queue in self._queues:
            queue.opened.wait()
            if isinstance(queue.error, (AffectdError, BrokenPipeError)):
                raise queue.error
            if queue.error:
                raise OutputError(f"output {queue.name}: {_reason(queue.error)}") from queue.error

    @property
    def works(self) -> bool:
        """There is an output that has not failed, or there never was one."""
        return not self._queues or not all(queue.error for queue in self._queues)

    @property
    def lost(self) -> dict[str, int]:
        """Name of each output that has lost events to their number."""
        lost = Counter[str]()
        for queue in self._queues:
            lost[queue.name] += queue.lost
        return dict(+lost)

    def __enter__(self) -> Outputs:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None and not isinstance(error, Exception):
            self.stop_waiting()
        self.close()


class _OutputQueue:
    """One output behind a queue that its own thread empties."""

    def __init__(
        self, output: Output, wait: bool, max_events: int, report: Callable[[str], None], meters: Sequence[Meter] | None
    ) -> None:
        self.name = output.name
        self.lost = 0
        self.error: BaseException | None = None
        self.opened = threading.Event()
        """It is open, or has failed."""
        self._output, self._wait, self._max_events, self._report = output, wait, max_events, report
        self._display = output if meters is not None and can_refresh(output) else None
        self._meters: Sequence[Meter] = () if meters is None else meters
        self._events: deque[Event] = deque()
        self._in_hand = 0
        """Events that are being written: 0 or 1."""
        self._ended = self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"output {self.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, event: Event) -> None:
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
            self._output.open()
            self.opened.set()
            for event in self._arriving():
                if event:
                    self._output.write(event)
                elif self._display:
                    self._display.refresh(self._meters)
        except BaseException as error:  # SystemExit too: who waits for the thread is to know
            self._fail(error)
        try:
            self._output.close()
        except BaseException as error:
            self._fail(error)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

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
        self._report(f"output {self.name} failed: {_reason(error)}")


def can_refresh(output: Output) -> TypeGuard[Display]:
    """Return whether somebody looks at an output between events."""
    return isinstance(output, Display) and output.can_refresh


def _reason(error: BaseException) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
