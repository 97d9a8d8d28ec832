"""The bounded queue in which the utterances of all streams wait for the encoder."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator

from edge.event import Event, wall_clock
from edge.stream import Utterance

SIGNALS_S = 0.25
"""Longest wait of the thread that recognises, which is the one that handles signals: a signal that arrives just before
a wait without an end would only be handled after it."""


class UtteranceQueue:
    """Hand-over to the thread that recognises: it iterates over events, and over lists of the utterances that wait.

    Putting an utterance of a live stream never waits: when ``max_utterances`` of live streams are waiting, the oldest
    one of the stream that has most of them is dropped, and its ``skipped`` event comes out instead. An utterance of a
    stream that can wait does, until fewer than ``max_utterances`` are in the queue.
    """

    def __init__(self, max_utterances: int, max_batch: int) -> None:
        self._max_utterances, self._max_batch = max_utterances, max_batch
        self._waiting: deque[Utterance] = deque()
        self._events: deque[Event] = deque()
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: Utterance | Event) -> None:
        """Add an utterance, or an event, which overtakes the utterances."""
        with self._changed:
            if isinstance(item, Event):
                self._events.append(item)
            else:
                if item.stream.can_wait:
                    self._changed.wait_for(lambda: self._closed or len(self._waiting) < self._max_utterances)
                else:
                    self._make_room(item)
                self._waiting.append(item)
            self._changed.notify_all()

    def close(self, error: BaseException | None = None) -> None:
        """End the iteration once it is empty, by raising ``error`` if given."""
        with self._changed:
            self._closed, self._error = True, self._error or error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[list[Utterance] | Event]:
        while True:
            with self._changed:
                while not self._changed.wait_for(lambda: self._events or self._waiting or self._closed, SIGNALS_S):
                    pass
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

    def _make_room(self, newcomer: Utterance) -> None:
        live = [utterance for utterance in self._waiting if not utterance.stream.can_wait]
        if len(live) < self._max_utterances:
            return
        waiting = Counter(utterance.stream for utterance in live)
        # Of streams with equally many, that of the newcomer, or else the one whose utterance has waited longest.
        busiest = max(waiting, key=lambda stream: (waiting[stream], stream is newcomer.stream))
        oldest = next(utterance for utterance in live if utterance.stream is busiest)
        self._waiting.remove(oldest)
        self._events.append(_skipped_event(oldest, len(live) - live.index(oldest)))


def _skipped_event(utterance: Utterance, newer: int) -> Event:
    segment = utterance.segment
    return Event(
        "skipped",
        utterance.source,
        wall_clock(),
        start_s=segment.start_s,
        end_s=segment.end_s,
        dropped_s=segment.dropped_s,
        message=f"the encoder is too slow: {newer} newer utterances were waiting",
    )
