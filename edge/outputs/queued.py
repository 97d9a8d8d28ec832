"""Outputs at work: each has its own bounded queue and thread, so that none delays or ends what the events come from."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType

from edge.errors import AffectdError, OutputError
from edge.event import Event
from edge.meter import Meter
from edge.outputs.base import Lossy, Output
from edge.outputs.output_queue import OutputQueue, reason_of

MAX_EVENTS = 1_000
FLUSH_S = 5.0
"""What is queued at the end is written within this time, or lost."""


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
        self._options = wait, max_events, report, meters
        self._queues = [OutputQueue(output, *self._options) for output in outputs]

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

    def add(self, output: Output) -> None:
        """Take up an output, and start to open it."""
        queue = OutputQueue(output, *self._options)
        self._queues.append(queue)
        queue.start()

    def remove(self, output: Output) -> None:
        """Let go of an output, which writes what is queued for it on its own time."""
        for queue in [queue for queue in self._queues if queue.output is output]:
            self._queues.remove(queue)
            queue.stop_waiting()
            queue.end()

    def has_failed(self, output: Output) -> bool:
        """It gets no more events, because of an error; from any thread."""
        return any(queue.error for queue in list(self._queues) if queue.output is output)

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
                raise OutputError(f"output {queue.name}: {reason_of(queue.error)}") from queue.error

    @property
    def works(self) -> bool:
        """There is an output that has not failed, or there never was one."""
        return not self._queues or not all(queue.error for queue in self._queues)

    @property
    def lost(self) -> dict[str, int]:
        """Name of each output that has lost events to their number."""
        lost = Counter[str]()
        for queue in self._queues:
            lost[queue.name] += queue.lost + (queue.output.lost if isinstance(queue.output, Lossy) else 0)
        return dict(+lost)

    def __enter__(self) -> Outputs:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None and not isinstance(error, Exception):
            self.stop_waiting()
        self.close()
