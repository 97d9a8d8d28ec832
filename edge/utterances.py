"""Utterances on their way to the encoder, and the bounded queue in which they wait for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from edge.event import Event, wall_clock
from edge.segmenter import Segment


@dataclass(frozen=True)
class Utterance:
    """A segment on its way to the encoder."""

    source: str
    segment: Segment
    capture_ms: float
    """From the sample that decided the segment to its arrival in the queue."""
    queued_at_s: float
    """``time.monotonic()`` of that arrival."""
    heard_s: float
    """Audio since the segment before this one."""
    vad_ms: float
    """Time to find the segment in it."""


class UtteranceQueue:
    """Hand-over from the listening thread. Iterating waits for what is next and ends after ``close``.

    What is next is an event, or all utterances that wait, up to ``max_batch``, oldest first. When the queue is full,
    ``put`` drops the oldest utterance, whose ``skipped`` event comes out instead; with ``wait`` it waits for room.
    """

    def __init__(self, max_utterances: int, max_batch: int, wait: bool) -> None:
        self._max_utterances, self._max_batch, self._wait = max_utterances, max_batch, wait
        self._waiting: deque[Utterance] = deque()
        self._events: deque[Event] = deque()
        self._closed = False
        self._error: Exception | None = None
        self._changed = threading.Condition()

    def put(self, item: Utterance | Event) -> None:
        """Add an utterance, or an event, which overtakes the utterances; after ``close`` nothing happens."""
        with self._changed:
            if isinstance(item, Event):
                self._events.append(item)
            else:
                if self._wait:
                    self._changed.wait_for(lambda: self._closed or len(self._waiting) < self._max_utterances)
                elif len(self._waiting) == self._max_utterances:
                    self._events.append(_skipped_event(self._waiting.popleft(), self._max_utterances))
                self._waiting.append(item)
            self._changed.notify_all()

    def close(self, error: Exception | None = None) -> None:
        """End the iteration once it is empty, by raising ``error`` if given."""
        with self._changed:
            self._closed, self._error = True, self._error or error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[list[Utterance] | Event]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._waiting or self._closed)
                item: list[Utterance] | Event
                if self._events:
                    item = self._events.popleft()
                elif self._waiting:
                    item = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
                elif self._error:
                    raise self._error
                else:
                    return
                self._changed.notify_all()
            yield item


def _skipped_event(utterance: Utterance, waiting: int) -> Event:
    segment = utterance.segment
    return Event(
        "skipped",
        utterance.source,
        wall_clock(),
        start_s=segment.start_s,
        end_s=segment.end_s,
        dropped_s=segment.dropped_s,
        message=f"the encoder is too slow: {waiting} newer utterances were waiting",
    )
