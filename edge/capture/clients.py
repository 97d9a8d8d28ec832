"""A source that somebody sends to: it waits for one client at a time, and outlasts each."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np

from edge.audio import SAMPLE_RATE_HZ
from edge.capture.base import BLOCK_S, Block, BlockQueue, Rest, blocks_of
from edge.capture.pcm import CATCH_UP
from edge.decoding import AudioReader, Note
from edge.errors import AudioFileError, printable

QUIET_S = 1.0
"""Without audio for so long a client is pausing: what was being said is over."""
STALE_S = 10.0
"""Who has sent nothing for so long makes room for a newcomer."""
WORTH = 10.0
"""Audio keeps the place for so many times its duration: a byte now and then does not."""

logger = logging.getLogger(__name__)


class Client(Protocol):
    """Somebody who sends."""

    keeps_until_s: float
    """Until when it keeps its place without sending anything, on the monotonic clock."""

    def open(self, name: str, rate_hz: int) -> AudioReader:
        """Begin to decode what comes; raises AudioFileError when it is no audio."""

    def close(self, why: str = "") -> None:
        """Let it go, with the reason where there is one; callable from any thread and more than once."""

    def __str__(self) -> str:
        """Return who it is."""


class ClientSource(ABC):
    """What one client after the other sends, as one stream. Between them the clock goes on, and nothing is lost."""

    can_wait = False

    def __init__(self, name: str, rate_hz: int, queue_s: float) -> None:
        """Prepare; ``rate_hz`` is of raw PCM, ``queue_s`` of audio may wait for the consumer."""
        self.name = name
        self._rate_hz, self._queue_s = rate_hz, queue_s
        self.rest = Rest()
        self._client: Client | None = None
        self._next: Client | None = None
        """Who takes over from the client."""
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._delivered_at_s = 0.0
        """Up to when audio or time was delivered, on the monotonic clock."""

    @abstractmethod
    def _listen(self) -> None:
        """Begin to let clients in, which are offered; raises AudioDeviceError."""

    @abstractmethod
    def _stop_listening(self) -> None:
        """Let nobody in any more."""

    def blocks(self) -> Iterator[Block]:
        """Yield what clients send until ``close``; may be called again when it has ended.

        Raises:
            AudioDeviceError: there is no such address, or somebody else is there.
        """
        if self._closed.is_set():
            return
        self._listen()
        self._delivered_at_s = time.monotonic()
        try:
            yield _gap(Note("disconnected", f"waits for somebody to send to {self.name}"))
            while not self._closed.is_set():
                if client := self._wait():
                    yield from self._hear(client)
                else:
                    yield self._passed()
        finally:
            self._stop_listening()
            self._leave("affectd listens no longer")

    def close(self) -> None:
        """End ``blocks`` soon; callable from any thread and more than once."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
        self._leave("affectd ends")

    def offer(self, client: Client) -> str:
        """Take a client up; return why not, or nothing. From any thread."""
        with self._changed:
            if self._closed.is_set():
                return "affectd ends"
            present, now_s = self._next or self._client, time.monotonic()
            if present and now_s < present.keeps_until_s:
                return "somebody else is sending"
            client.keeps_until_s = now_s + STALE_S
            stale, self._next = (self._next or self._client), client
            self._changed.notify_all()
        if stale:
            stale.close("somebody else takes over")
        return ""

    def _wait(self) -> Client | None:
        """Return the next client; None when the source is closed, and every now and then."""
        with self._changed:
            self._changed.wait_for(lambda: self._next or self._closed.is_set(), QUIET_S)
            if self._closed.is_set():
                return None
            self._client, self._next = self._next, None
            return self._client

    def _leave(self, why: str) -> None:
        with self._changed:
            there = [client for client in (self._client, self._next) if client]
            self._next = None
        for client in there:
            client.close(why)

    def _hear(self, client: Client) -> Iterator[Block]:
        """Yield what a client sends, as it comes, until it leaves."""
        queue: BlockQueue[Block] = BlockQueue(self._queue_s, self.rest)
        threading.Thread(target=self._read, args=(client, queue), name=f"client of {self.name}", daemon=True).start()
        why, is_gap = "left", True
        notes: tuple[Note, ...] = (Note("connected", f"{client} sends"),)
        try:
            while item := self._get(queue):
                block, lost_s = item
                if not block:
                    yield self._passed() if is_gap else _gap()
                    is_gap = True
                    continue
                block = replace(block, lost_s=block.lost_s + lost_s, notes=(*notes, *block.notes))
                yield self._after_gap(block) if is_gap else block
                notes, is_gap = (), False
                self._delivered_at_s = block.captured_at_s
        except AudioFileError as error:
            why = f"sent what is no audio: {error}"
            client.close(str(error))
        finally:
            client.close()
            with self._changed:
                self._client = None  # the next one is welcome before anybody hears of it
        if not self._closed.is_set():
            yield _gap(Note("disconnected", printable(f"{client} {why}")))

    def _get(self, queue: BlockQueue[Block]) -> tuple[Block | None, float] | None:
        """Return the next block with the seconds lost before it, no block where none comes, or None at the end."""
        try:
            return queue.get(QUIET_S)
        except TimeoutError:
            return None, 0.0

    def _passed(self) -> Block:
        """Return a block that says nothing but that time passes: whoever wants the source to end can do so."""
        now_s = time.monotonic()
        waited_s, self._delivered_at_s = now_s - self._delivered_at_s, now_s
        return Block(np.zeros(0, np.float32), now_s, paused_s=waited_s)

    def _after_gap(self, block: Block) -> Block:
        began_s = block.captured_at_s - len(block.samples) / SAMPLE_RATE_HZ
        return replace(block, paused_s=max(0.0, began_s - self._delivered_at_s), restarted=True)

    def _read(self, client: Client, queue: BlockQueue[Block]) -> None:
        """Decode what a client sends, no faster than it sounds: a flood waits at the sender."""
        due_at_s = 0.0

        def pace(_audio_s: float) -> None:
            nonlocal due_at_s
            self._closed.wait(due_at_s - time.monotonic())
            due_at_s = max(due_at_s, time.monotonic() - BLOCK_S) + BLOCK_S / CATCH_UP

        try:
            with client.open(self.name, self._rate_hz) as reader:
                for block in blocks_of(reader, self._closed, pace):
                    audio_s, now_s = len(block.samples) / SAMPLE_RATE_HZ, time.monotonic()
                    queue.put(block, audio_s)
                    client.keeps_until_s = min(max(client.keeps_until_s, now_s) + WORTH * audio_s, now_s + STALE_S)
        except AudioFileError as error:
            queue.close(error)
        except Exception as error:
            logger.debug("a client of %s", self.name, exc_info=True)
            queue.close(AudioFileError(f"{self.name}: {error}"))
        queue.close()


def _gap(*notes: Note) -> Block:
    """Return a block without samples that ends what was being said."""
    return Block(np.zeros(0, np.float32), time.monotonic(), restarted=True, notes=notes)
