"""A source that hears what voice assistants say to their speech-to-text, and answers them how it sounded."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edge.audio import SAMPLE_RATE_HZ
from edge.capture.address import Address
from edge.capture.base import Block
from edge.capture.wyoming.server import WyomingServer
from edge.capture.wyoming.turn import Turn, blocks_of_turn
from edge.decoding import Note
from edge.event import Event
from edge.segment import StepKind

NEWS_S = 1.0
"""Longest time without a block, so that whoever wants the source to end can do so."""


class WyomingSource:
    """Hears one turn after the other, each whole; between them the clock goes on. See ``capture.base.Replying``.

    Clients are served from the first ``blocks`` until ``close``, whether or not somebody listens meanwhile. The
    constructor is cheap and cannot fail.
    """

    can_wait = False

    def __init__(self, address: Address, upstream: Address | None, queue_s: float) -> None:
        """Prepare; ``upstream`` is the speech-to-text that makes the words, ``queue_s`` of audio may wait."""
        self.name = str(address)
        self._server = WyomingServer(address, upstream, self.take, queue_s)
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._listens = self._has_waited = self._has_heard = False
        self._turns: deque[Turn] = deque()
        """The one that is heard, and one that comes after."""
        self._turn: Turn | None = None
        """That is heard; for the thread that iterates."""
        self._turn_s = 0.0
        """Audio of it so far."""
        self._by_id: dict[int, Turn] = {}
        """Utterances that are not answered."""
        self._delivered_at_s = 0.0
        """When the last audio was, or would have been in real time, on the monotonic clock."""

    def blocks(self) -> Iterator[Block]:
        """Yield what clients say until ``close``; may be called again when it has ended.

        Raises:
            AudioDeviceError: there is no such address, or somebody else is there.
        """
        if self._closed.is_set():
            return
        self._server.start()
        self._listens = True
        self._delivered_at_s = time.monotonic()
        try:
            note = Note("disconnected", f"waits for a voice assistant at {self.name}")
            yield _nothing() if self._has_waited else _gap(note)
            self._has_waited = True
            while not self._closed.is_set():
                if turn := self._wait():
                    yield from self._hear(turn)
                else:
                    yield _nothing()
        finally:
            with self._changed:
                self._listens, self._turn = False, None
                left, self._turns = self._turns, deque()
            for turn in left:
                self._server.post(turn.give_up)
            if self._closed.is_set():
                self._server.stop(wait=True)

    def close(self) -> None:
        """End ``blocks`` soon, and serve nobody any more; callable from any thread and more than once."""
        with self._changed:
            self._closed.set()
            for turn in self._turns:
                turn.chunks.close()
            self._changed.notify_all()
        self._server.stop()

    def take(self, turn: Turn) -> str:
        """Take a turn up that begins; return why not, or nothing. For the server."""
        with self._changed:
            if self._closed.is_set() or not self._listens:
                return "affectd does not listen"
            for other in self._turns:
                if time.monotonic() >= other.keeps_until_s:
                    other.end()
            if len(self._turns) > 1 or any(other.ended_at_s is None for other in self._turns):
                return f"{self._turns[-1].who} is heard"
            self._turns.append(turn)
            self._changed.notify_all()
        return ""

    def spoken(self, utterance_id: int, step: StepKind, ago_s: float) -> None:
        """Take note of voices; see ``capture.base.Replying``."""
        if turn := self._turn:
            self._by_id[utterance_id] = turn
            self._server.post(turn.spoken, utterance_id, step, self._turn_s - ago_s)

    def answered(self, event: Event) -> None:
        """Take what became of an utterance; see ``capture.base.Replying``."""
        if event.id is not None and (turn := self._by_id.pop(event.id, None)):
            self._server.post(turn.answered, event)

    def _wait(self) -> Turn | None:
        """Return the next turn; None when the source is closed, and every now and then."""
        with self._changed:
            self._changed.wait_for(lambda: self._turns or self._closed.is_set(), NEWS_S)
            return self._turns[0] if self._turns and not self._closed.is_set() else None

    def _hear(self, turn: Turn) -> Iterator[Block]:
        """Yield a turn as it comes, to its end, and no slower than it comes."""
        self._turn, self._turn_s = turn, 0.0
        notes: tuple[Note, ...] = () if self._has_heard else (Note("connected", f"{turn.who} speaks"),)
        is_gap = True
        for block in blocks_of_turn(turn.chunks):
            if block is None:
                yield _nothing() if is_gap else _gap()
                is_gap = True
                continue
            duration_s = len(block.samples) / SAMPLE_RATE_HZ
            began_s = block.captured_at_s - duration_s
            paused_s = max(0.0, began_s - self._delivered_at_s) if is_gap else 0.0
            self._turn_s += duration_s
            self._delivered_at_s = max(block.captured_at_s, self._delivered_at_s + paused_s + duration_s)
            yield replace(block, paused_s=paused_s, restarted=True, notes=notes) if is_gap else block
            notes, is_gap, self._has_heard = (), False, True
        yield _gap()
        # Who asks for more has taken all of the turn's utterances up.
        self._server.post(turn.heard)
        with self._changed:
            self._turn = None
            if self._turns and self._turns[0] is turn:
                self._turns.popleft()


def _nothing() -> Block:
    """Return a block that says nothing."""
    return Block(np.zeros(0, np.float32), time.monotonic())


def _gap(*notes: Note) -> Block:
    """Return a block without samples that ends what was being said."""
    return Block(np.zeros(0, np.float32), time.monotonic(), restarted=True, notes=notes)
