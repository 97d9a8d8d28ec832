"""What a voice assistant sends from audio-start to audio-stop, and what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge.arrays import Matrix
from edge.audio import mono
from edge.capture.base import BLOCK_S, Block, BlockQueue, StreamResampler
from edge.capture.wyoming.messages import Message, answer_of
from edge.decoding import RATES_HZ
from edge.event import Event
from edge.segment import StepKind

WAIT_S = 0.5
"""Longest time after the end of the audio for which a transcript waits for the answer."""
PATIENCE_S = 1.0
"""Longest time in a turn for which a client that sends faster than it is heard is held back; then audio is lost."""
QUIET_S = 1.0
"""Without audio for so long a client is pausing: what was being said is over."""
STALE_S = 10.0
"""Who has sent nothing for so long makes room for a newcomer."""
WORTH = 10.0
"""Audio keeps the place for so many times its duration: a sample now and then does not."""
MOST_CHANNELS = 32


@dataclass(frozen=True)
class Chunk:
    """Interleaved little-endian PCM; of one byte a sample it is unsigned."""

    rate_hz: int
    width: int
    """Bytes of a sample."""
    channels: int
    pcm: bytes

    @property
    def format(self) -> tuple[int, int, int]:
        """Rate, width and channels."""
        return self.rate_hz, self.width, self.channels

    @property
    def duration_s(self) -> float:
        """How long it sounds."""
        return len(self.pcm) / (self.width * self.channels * self.rate_hz)

    @property
    def is_usual(self) -> bool:
        """It can be heard."""
        return self.rate_hz in RATES_HZ and self.width in range(1, 5) and self.channels in range(1, MOST_CHANNELS + 1)


class Turn:
    """What one client says. It belongs to the server's thread, but for ``chunks``, which any thread may read."""

    def __init__(self, who: str, queue_s: float, send: Callable[[Message], None]) -> None:
        """Prepare; ``send`` takes what the client is told meanwhile, and ``queue_s`` of audio may wait."""
        self.who = who
        self.chunks: BlockQueue[Chunk] = BlockQueue(queue_s)
        self.keeps_until_s = time.monotonic() + STALE_S
        """Until when it keeps others out without sending anything, on the monotonic clock."""
        self.ended_at_s: float | None = None
        """When it ended, on the same."""
        self._queue_s, self._send = queue_s, send
        self._patience_s = PATIENCE_S
        self._duration_s = 0.0
        self._open: set[int] = set()
        """Utterances that are not answered."""
        self._speaks = False
        self._answer: Event | None = None
        self._is_heard = False
        self._answered = asyncio.Event()

    async def put(self, chunk: Chunk) -> None:
        """Let a chunk be heard, soon; what is sent at once is held back a little rather than lost."""
        while self.chunks.waiting_s > self._queue_s / 2 and self._patience_s > 0:
            began_s = time.monotonic()
            await asyncio.sleep(0.005)
            self._patience_s -= time.monotonic() - began_s
        now_s = time.monotonic()
        self.keeps_until_s = min(max(self.keeps_until_s, now_s) + WORTH * chunk.duration_s, now_s + STALE_S)
        self._duration_s += chunk.duration_s
        self.chunks.put(chunk, chunk.duration_s)

    def end(self) -> None:
        """Let no more follow; more than once."""
        if self.ended_at_s is None:
            self.ended_at_s = time.monotonic()
            self.chunks.close()

    def spoken(self, utterance_id: int, step: StepKind, at_s: float) -> None:
        """Take note that an utterance has started or ended, at a time of the turn's audio."""
        if step == "started":
            self._open.add(utterance_id)
        self._say_voice(step == "started", at_s)

    def answered(self, event: Event) -> None:
        """Take the last event of an utterance."""
        self._open.discard(event.id or 0)
        if event.type == "utterance":
            self._answer = event
        self._look()

    def heard(self) -> None:
        """Take note that no utterance of the turn is still to start."""
        self._is_heard = True
        self._look()

    def give_up(self) -> None:
        """Wait for nothing, since affectd listens no longer."""
        self.end()
        self._answered.set()

    async def answer(self) -> dict[str, Any] | None:
        """End the turn, wait a little for what became of it, and return that; the client is told no more of voices."""
        self.end()
        assert self.ended_at_s is not None
        rest_s = max(0.0, self.ended_at_s + WAIT_S - time.monotonic())
        alarm = asyncio.get_running_loop().call_later(rest_s, self._answered.set)
        try:
            await self._answered.wait()
        finally:
            alarm.cancel()
        self._say_voice(False, self._duration_s)
        self._send = _nowhere
        return answer_of(self._answer) if self._answer else None

    def _look(self) -> None:
        if self._is_heard and not self._open:
            self._answered.set()

    def _say_voice(self, speaks: bool, at_s: float) -> None:
        if speaks is not self._speaks:
            self._speaks = speaks
            kind = "voice-started" if speaks else "voice-stopped"
            self._send(Message(kind, {"timestamp": max(0, round(at_s * 1e3))}))


def _nowhere(_: Message) -> None:
    """Send nothing."""


class ChunkDecoder:
    """Chunks of one format, as blocks; a frame may begin in one chunk and end in the next."""

    def __init__(self, chunk: Chunk) -> None:
        self._rate_hz, self._width, self._channels = self.format = chunk.format
        self._resample = StreamResampler(self._rate_hz)
        self._rest = b""

    def blocks(self, chunk: Chunk) -> Iterator[Block]:
        """Yield what a chunk completes."""
        data = self._rest + chunk.pcm
        frame_bytes = self._width * self._channels
        whole = len(data) // frame_bytes * frame_bytes
        self._rest = data[whole:]
        step = round(BLOCK_S * self._rate_hz) * frame_bytes
        for start in range(0, whole, step):
            arrived = decoded(data[start : min(start + step, whole)], self._width, self._channels)
            yield self._block(arrived)

    def last(self) -> Block:
        """Return what the resampler holds back."""
        return self._block(np.zeros((0, self._channels), np.float32), last=True)

    def _block(self, arrived: Matrix, last: bool = False) -> Block:
        samples = self._resample(mono(arrived), last)
        return Block(samples, time.monotonic(), arrived=arrived, rate_hz=self._rate_hz)


def decoded(pcm: bytes, width: int, channels: int) -> Matrix:
    """Return whole frames of interleaved PCM as ``float32[frames, channels]``, ±1."""
    if width == 1:
        samples = np.frombuffer(pcm, np.uint8).astype(np.float32) - 128
    elif width == 3:
        # The three bytes become the upper ones of four, and so the scale that of four.
        four = np.zeros((len(pcm) // 3, 4), np.uint8)
        four[:, 1:] = np.frombuffer(pcm, np.uint8).reshape(-1, 3)
        samples = four.view("<i4")[:, 0].astype(np.float32)
    else:
        samples = np.frombuffer(pcm, f"<i{width}").astype(np.float32)
    scale = 2.0 ** (8 * (4 if width == 3 else width) - 1)
    result: Matrix = (samples / np.float32(scale)).reshape(-1, channels)
    return result


def blocks_of_turn(chunks: BlockQueue[Chunk]) -> Iterator[Block | None]:
    """Yield blocks until the turn ends; None where nothing has come for ``QUIET_S``."""
    decoder: ChunkDecoder | None = None
    while True:
        try:
            item = chunks.get(QUIET_S)
        except TimeoutError:
            yield None
            continue
        if item is None:
            break
        chunk, lost_s = item
        is_new = decoder is None or decoder.format != chunk.format
        if decoder is None or decoder.format != chunk.format:
            if decoder:
                yield decoder.last()
            decoder = ChunkDecoder(chunk)
        for block in decoder.blocks(chunk):
            yield replace(block, lost_s=lost_s, restarted=is_new)
            lost_s, is_new = 0.0, False
    if decoder:
        yield decoder.last()
