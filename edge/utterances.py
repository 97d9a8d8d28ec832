"""The bounded queue in which the utterances of all streams wait for the encoder."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator

from edge.event import Event
from edge.stream import Stream, Utterance
from edge.utterance_events import skipped_event

SIGNALS_S = 0.25
"""Longest wait of the thread that recognises, which is the one that handles signals: a signal that arrives just before
a wait without an end would only be handled after it."""

Items = list[Utterance | Event]


class UtteranceQueue:
    """Hand-over to the thread that recognises: it iterates over lists of what happened, in order.

    A list is empty when nothing has happened for ``SIGNALS_S``.

    What happens to an utterance is told as ``Step`` says, and consistently: what was never handed over is not resumed,
    and an utterance whose last provisional step was dropped ends in a ``skipped`` event.

    Putting never waits for a live stream: when ``max_utterances`` of live streams are waiting for the encoder, the
    oldest one of the stream that has most of them is dropped. An utterance of a stream that can wait does, until fewer
    than ``max_utterances`` are in the queue, and nothing of it is dropped.
    """

    def __init__(self, max_utterances: int, max_batch: int) -> None:
        self.max_utterances = max_utterances
        """That may wait."""
        self.max_batch = max_batch
        """Utterances that are handed over at once."""
        self.streams = 1
        """That are listened to: there is room for an utterance of each."""
        self._waiting: deque[Utterance | Event] = deque()
        self._events: deque[Event] = deque()
        self._dropped: dict[int, int] = {}
        """Id of an utterance in a pause whose provisional step was dropped, to how many newer ones were waiting."""
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: Utterance | Event) -> None:
        """Add an utterance, or an event, which overtakes the utterances."""
        with self._changed:
            if isinstance(item, Event):
                self._events.append(item)
                self._changed.notify_all()
                return
            self._drop_partial()
            if item.stream.can_wait:
                if item.is_encoded:
                    self._changed.wait_for(lambda: self._closed or len(self._encoded()) < self.max_utterances)
                self._waiting.append(item)
            else:
                self._put_live(item)
            self._changed.notify_all()

    def holds(self, stream: Stream) -> bool:
        """Return whether anything that happened in a stream waits."""
        with self._changed:
            return any(_is_of(stream, item) for item in (*self._events, *self._waiting))

    def __len__(self) -> int:
        """Return how many utterances wait for the encoder."""
        with self._changed:
            return len(self._encoded())

    def close(self, error: BaseException | None = None) -> None:
        """End the iteration once it is empty, by raising ``error`` if given."""
        with self._changed:
            self._closed, self._error = True, self._error or error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Items]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._waiting or self._closed, SIGNALS_S)
                items: Items = []
                if self._events:
                    items = [self._events.popleft()]
                elif self._waiting:
                    items = self._batch()
                elif self._closed and self._error:
                    raise self._error
                elif self._closed:
                    return
                self._changed.notify_all()
            yield items

    def _batch(self) -> Items:
        """Take what needs no encoder, or up to ``max_batch`` utterances for it and what happened between them."""
        items: Items = []
        encoded = 0
        while self._waiting:
            is_encoded = _is_encoded(self._waiting[0])
            if is_encoded and (encoded == self.max_batch or (items and not encoded)):
                break
            encoded += is_encoded
            items.append(self._waiting.popleft())
        return items

    def _put_live(self, item: Utterance) -> None:
        if item.step == "partial" and self._waiting:
            return
        if item.step == "provisional":
            self._make_room(item)
        elif item.step == "resumed" and self._withdraw(item.id):
            return
        newer = self._dropped.pop(item.id, None) if item.step == "ended" else None
        self._waiting.append(item if newer is None else _too_slow(item, newer))

    def _drop_partial(self) -> None:
        """Nothing waits for a partial answer of a live stream."""
        if self._waiting and _is_live(self._waiting[0], "partial"):
            self._waiting.popleft()

    def _withdraw(self, id_: int) -> bool:
        """Forget the provisional step of someone who went on; return False if it has been handed over."""
        if self._dropped.pop(id_, None) is not None:
            return True
        found = [item for item in self._encoded() if item.id == id_]
        for item in found:
            self._waiting.remove(item)
        return bool(found)

    def _make_room(self, newcomer: Utterance) -> None:
        live = [item for item in self._encoded() if not item.stream.can_wait]
        if len(live) < max(self.max_utterances, self.streams):
            return
        waiting = Counter(utterance.stream for utterance in live)
        # Of streams with equally many, that of the newcomer, or else the one whose utterance has waited longest.
        busiest = max(waiting, key=lambda stream: (waiting[stream], stream is newcomer.stream))
        oldest = next(utterance for utterance in live if utterance.stream is busiest)
        self._waiting.remove(oldest)
        newer = len(live) - live.index(oldest)
        for place, item in enumerate(self._waiting):
            if isinstance(item, Utterance) and (item.id, item.step) == (oldest.id, "ended"):
                self._waiting[place] = _too_slow(item, newer)
                return
        self._dropped[oldest.id] = newer

    def _encoded(self) -> list[Utterance]:
        return [item for item in self._waiting if isinstance(item, Utterance) and item.is_encoded]


def _is_of(stream: Stream, item: Utterance | Event) -> bool:
    return item.stream is stream if isinstance(item, Utterance) else item.source == stream.name


def _is_encoded(item: Utterance | Event) -> bool:
    return isinstance(item, Utterance) and item.is_encoded


def _is_live(item: Utterance | Event, step: str) -> bool:
    return isinstance(item, Utterance) and item.step == step and not item.stream.can_wait


def _too_slow(utterance: Utterance, newer: int) -> Event:
    return skipped_event(utterance, "too_slow", f"the encoder is too slow: {newer} newer utterances were waiting")
