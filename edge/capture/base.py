"""What all sources share: blocks of 16 kHz mono, the bounded queue behind a capture thread, and conversion to both."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import soxr

from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform, mono
from edge.decoding import AudioReader, Note
from edge.event import Event
from edge.segment import StepKind

BLOCK_S = 0.03
"""A frame of voice activity detection: longer blocks would let a decision wait for samples it does not need."""

T = TypeVar("T")


@dataclass(frozen=True)
class Block:
    """The next piece of a stream."""

    samples: Waveform
    """``float32[n]``, 16 kHz, ±1; now and then n is 0 while a resampler fills."""
    captured_at_s: float
    """``time.monotonic()`` when the last sample was delivered."""
    lost_s: float = 0.0
    """Audio lost just before this block."""
    paused_s: float = 0.0
    """Time just before this block in which nobody wanted to listen: it is on the clock, and nothing was lost."""
    restarted: bool = False
    """The stream was re-opened just before this block: what was learned about its sound no longer holds."""
    arrived: Matrix | None = None
    """``float32[n, channels]``, ±1, as the source delivered it, at its own rate; None: as ``samples``. Rate
    and channels change only where the source is ``restarted``."""
    rate_hz: int = SAMPLE_RATE_HZ
    """Of what arrived."""
    notes: tuple[Note, ...] = ()
    """What there is to say about the audio up to here, or its source; a block that only says it has no samples."""


class Source(Protocol):
    """Where audio comes from. Constructors are cheap and cannot fail; ``blocks`` opens."""

    @property
    def name(self) -> str:
        """What its events call it; a microphone gets its name when it opens."""

    can_wait: bool
    """Whoever reads it may take their time, and no audio is lost: a file or pipe that is read as fast as possible."""

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of about 50 ms until the stream ends or ``close`` is called.

        Raises:
            AudioFileError: the file or stream cannot be read or decoded.
            AudioDeviceError: the microphone cannot be opened.
        """

    def close(self) -> None:
        """Make ``blocks`` end soon; callable from any thread and more than once."""


@runtime_checkable
class Replying(Source, Protocol):
    """A source that tells those whom it hears what became of it. Neither method may wait."""

    def spoken(self, utterance_id: int, step: StepKind, ago_s: float) -> None:
        """Take note that an utterance has ``started``, or ``ended``, so long before the end of the latest block.

        It is called by the thread that iterates over ``blocks``, before it asks for the next one.
        """

    def answered(self, event: Event) -> None:
        """Take the last event of an utterance, ``utterance`` or ``skipped``; called by the thread that recognises."""


class Rest:
    """How long audio of a source may wait while nobody speaks: it is waking up for it that costs, not hearing it."""

    s = 0.0


class BlockQueue(Generic[T]):
    """Bounded hand-over from a capture thread: putting never waits; the oldest audio is overwritten and counted."""

    def __init__(self, max_s: float, rest: Rest | None = None) -> None:
        """Prepare to hold ``max_s`` of audio; where there is a ``rest``, it is followed."""
        self._max_s, self._rest = max_s, rest or Rest()
        self._least_s = 0.0
        """Audio that who waits waits for."""
        self._is_overdue = False
        """Who waited got less, since nothing more came for as long as they would wait."""
        self._items: deque[tuple[T, float]] = deque()
        self._waiting_s = 0.0
        self._lost_s = 0.0
        self._closed = False
        self._error: Exception | None = None
        self._changed = threading.Condition()

    @property
    def waiting_s(self) -> float:
        """Audio that waits; from any thread."""
        return self._waiting_s

    def put(self, item: T, duration_s: float) -> None:
        """Add ``duration_s`` of audio, dropping the oldest beyond the bound; after ``close`` it is ignored."""
        with self._changed:
            if self._closed:
                return
            self._items.append((item, duration_s))
            self._waiting_s += duration_s
            while self._waiting_s > self._max_s and len(self._items) > 1:
                _, oldest_s = self._items.popleft()
                self._waiting_s -= oldest_s
                self._lost_s += oldest_s
            self._is_overdue = False
            if self._waiting_s >= self._least_s:
                self._changed.notify()

    def get(self, timeout_s: float | None = None) -> tuple[T, float] | None:
        """Wait for the oldest item; return it with the seconds lost before it, or None at the end of the stream.

        Raises:
            TimeoutError: nothing arrived within ``timeout_s``.
            Exception: the one given to ``close``, once what was queued before it is delivered.
        """
        with self._changed:
            # What waits already is taken at once, so that a rest is behind the latest audio and not behind each.
            self._least_s = 0.0 if self._items else min(self._rest.s, self._max_s / 2)
            longest_s = 0.0 if self._is_overdue else timeout_s
            if not self._changed.wait_for(self._is_enough, longest_s):
                if not self._items:
                    raise TimeoutError
                self._is_overdue = True
            if self._items:
                item, duration_s = self._items.popleft()
                self._waiting_s -= duration_s
                lost_s, self._lost_s = self._lost_s, 0.0
                return item, lost_s
            if self._error:
                raise self._error
            return None

    def _is_enough(self) -> bool:
        return self._closed or (bool(self._items) and self._waiting_s >= self._least_s)

    def close(self, error: Exception | None = None) -> None:
        """End the stream, for the reason given; only the first call counts."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
                self._changed.notify_all()


class StreamResampler:
    """Resamples consecutive ``float32[n]`` blocks to 16 kHz as one continuous stream (soxr, high quality)."""

    def __init__(self, rate_hz: float) -> None:
        self._stream = None if rate_hz == SAMPLE_RATE_HZ else soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1)

    def __call__(self, samples: Waveform, last: bool = False) -> Waveform:
        """Return the ``float32[m]`` that are ready; ``last`` flushes the rest."""
        return samples if self._stream is None else self._stream.resample_chunk(samples, last)


def blocks_of(reader: AudioReader, closed: threading.Event, pace: Callable[[float], object]) -> Iterator[Block]:
    """Yield what a reader has, to the last sample that the resampler holds back, unless it is closed before.

    Args:
        reader: open.
        closed: set when the rest is not wanted.
        pace: called with the seconds read so far before each block.

    Raises:
        AudioFileError: it cannot be decoded (further).
    """
    resample = StreamResampler(reader.rate_hz)
    frames = 0
    for arrived in reader.blocks(round(BLOCK_S * reader.rate_hz)):
        frames += len(arrived)
        pace(frames / reader.rate_hz)
        if closed.is_set():
            return
        yield Block(
            resample(mono(arrived)),
            time.monotonic(),
            arrived=arrived,
            rate_hz=reader.rate_hz,
            notes=reader.take_notes(),
        )
    rest = resample(np.zeros(0, np.float32), last=True)
    nothing = np.zeros((0, reader.channels), np.float32)
    yield Block(rest, time.monotonic(), arrived=nothing, rate_hz=reader.rate_hz, notes=reader.take_notes())
