"""The streams of an engine: a thread listens to each, and they may come, pause and go while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from edge.errors import UsageError, nearest
from edge.event import Event, status, wall_clock
from edge.stream import Stream
from edge.utterances import UtteranceQueue


class Streams:
    """What is listened to. The thread that recognises adds and retires; any thread may pause and close."""

    def __init__(self, queue: UtteranceQueue, ready: Callable[[Stream], str]) -> None:
        """Prepare.

        Args:
            queue: of what they hear; closed when the last of them has ended.
            ready: what to say of a stream whose first audio has arrived.
        """
        self._queue, self._ready = queue, ready
        self._streams: list[Stream] = []
        self._listening: set[Stream] = set()
        """Those whose thread runs."""
        self._ended: list[Stream] = []
        """Those whose thread has ended, and whose last utterances may still wait."""
        self._retired_s = (0.0, 0.0)
        """Audio of those that were retired, and what of it was lost."""
        self._failure: BaseException | None = None
        """Of the first source that failed."""
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self._streams))

    @property
    def audio_s(self) -> float:
        """Audio that arrived so far, of all that ever were."""
        return self._retired_s[0] + sum(stream.audio_s for stream in self)

    @property
    def lost_s(self) -> float:
        """Audio that was lost so far, of all that ever were."""
        return self._retired_s[1] + sum(stream.lost_s for stream in self)

    def add(self, stream: Stream) -> None:
        """Take up a stream; it is listened to from ``start`` on."""
        self._streams.append(stream)

    def start(self) -> None:
        """Listen to all that were added."""
        with self._lock:
            new = [stream for stream in self._streams if stream not in self._listening and stream not in self._ended]
            self._listening.update(new)
            self._queue.streams = len(self._listening)
        for stream in new:
            threading.Thread(target=self._listen, args=(stream,), name=f"listening {stream.name}", daemon=True).start()

    def close(self) -> None:
        """Make all of them end soon, with what was being said; from any thread or signal handler."""
        for stream in self:
            stream.close()

    def named(self, source: str | None) -> list[Stream]:
        """Return those of that name, all for None; raises UsageError, with the nearest name, where there is none."""
        streams = list(self)
        found = [stream for stream in streams if source in (None, stream.name)]
        if not found:
            names = [stream.name for stream in streams]
            raise UsageError(
                f"there is no source {source!r}{nearest(source or '', names)}; there is {', '.join(names)}"
            )
        return found

    def pause(self, source: str | None, why: str) -> list[str]:
        """Hear nothing of a source, or of all, until ``go_on``; return the names of those. From any thread.

        Raises:
            UsageError: there is no such source; the message names the nearest.
        """
        streams = self.named(source)
        for stream in streams:
            if not stream.is_paused:
                stream.pause()
                self._queue.put(status(stream.name, "paused", f"{stream.name}: {why}"))
        return [stream.name for stream in streams]

    def go_on(self, source: str | None, why: str) -> list[str]:
        """Listen to a source, or to all, again; as ``pause``."""
        streams = self.named(source)
        for stream in streams:
            if stream.is_paused:
                stream.go_on()
                self._queue.put(status(stream.name, "continued", f"{stream.name}: {why}"))
        return [stream.name for stream in streams]

    def answer(self, event: Event) -> None:
        """Let those who speak to its source have an event; returns at once."""
        for stream in self:
            if stream.name == event.source:
                stream.answer(event)

    def retire(self) -> list[Stream]:
        """Let go of those that have ended, and all of whose utterances were handed over; return them."""
        with self._lock:
            over = [stream for stream in self._ended if not self._queue.holds(stream)]
            self._ended = [stream for stream in self._ended if stream not in over]
        for stream in over:
            self._retired_s = (self._retired_s[0] + stream.audio_s, self._retired_s[1] + stream.lost_s)
            self._streams.remove(stream)
        return over

    def _listen(self, stream: Stream) -> None:
        failure: BaseException | None = None
        try:
            ready = False
            for utterances in stream.utterances():
                if not ready and stream.audio_s:
                    self._queue.put(status(stream.name, "ready", self._ready(stream)))
                    ready = True
                for news in stream.news():
                    self._queue.put(news)
                for utterance in utterances:
                    self._queue.put(utterance)
        except BaseException as error:  # SystemExit too: whatever ends the listening is the caller's to know
            failure = error
        with self._lock:
            self._listening.remove(stream)
            self._ended.append(stream)
            self._failure = self._failure or failure
            stream.has_failed = failure is not None
            if not self._listening:
                self._queue.close(self._failure)
            elif failure:
                self._queue.put(Event("error", stream.name, wall_clock(), message=str(failure)))
