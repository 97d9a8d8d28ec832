"""Capture: every source becomes one stream of short 16 kHz mono blocks, and audio that is lost is counted."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Generic, Protocol, TypeVar

import numpy as np
import soxr

from edge.audio import SAMPLE_RATE_HZ, Waveform, open_audio, read_block
from edge.errors import AudioFileError
from edge.settings import CaptureSettings

BLOCK_S = 0.03
"""A frame of voice activity detection: longer blocks would let a decision wait for samples it does not need."""
CATCH_UP = 1.02
"""Piped audio may run this much faster than real time: a live producer's clock that beats ours must not pile up."""

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
    restarted: bool = False
    """The stream was re-opened just before this block: what was learned about its sound no longer holds."""


class Source(Protocol):
    """Where audio comes from. Constructors are cheap and cannot fail; ``blocks`` opens."""

    name: str

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of about 50 ms until the stream ends or ``close`` is called.

        Raises:
            AudioFileError: the file or stream cannot be read or decoded.
            AudioDeviceError: the microphone cannot be opened.
        """

    def close(self) -> None:
        """Make ``blocks`` end soon; callable from any thread and more than once."""


def open_source(settings: CaptureSettings) -> Source:
    """Return the source that the settings name: ``mic``, a path, or ``-`` for PCM on standard input.

    With ``realtime`` a source does not wait for its consumer: what does not fit in the queue is lost and counted.
    """
    if settings.source == "mic":
        from edge.capture.microphone import Microphone  # noqa: PLC0415  (the microphone file imports this one)

        return Microphone(settings.device, settings.queue_s)
    source: Source
    if settings.source == "-":
        # Unbuffered: a thread that waits inside a buffered standard input aborts the interpreter when it exits.
        stdin = io.FileIO(sys.stdin.fileno(), closefd=False)
        source = PcmSource(stdin, settings.rate_hz, realtime=settings.realtime)
    else:
        source = FileSource(Path(settings.source), settings.realtime)
    return LiveSource(source, settings.queue_s) if settings.realtime else source


class FileSource:
    """An audio file, decoded block by block, so its length does not matter."""

    def __init__(self, path: Path, realtime: bool = False) -> None:
        self.name = path.name
        self._path = path
        self._realtime = realtime
        self._closed = threading.Event()

    def blocks(self) -> Iterator[Block]:
        """Yield the file, at the speed of a real clock if ``realtime``; see ``Source.blocks``."""
        with open_audio(self._path) as file:
            resample = StreamResampler(file.samplerate)
            started_at_s = time.monotonic()
            frames = 0
            while (samples := read_block(file, round(BLOCK_S * file.samplerate), self._path)) is not None:
                frames += len(samples)
                if self._realtime:
                    self._closed.wait(started_at_s + frames / file.samplerate - time.monotonic())
                if self._closed.is_set():
                    return
                yield Block(resample(samples), time.monotonic())
            if not frames:
                raise AudioFileError(f"{self._path}: holds no audio")
            yield Block(resample(np.zeros(0, np.float32), last=True), time.monotonic())

    def close(self) -> None:
        """Stop after the current block."""
        self._closed.set()


class PcmSource:
    """Raw 16-bit little-endian mono PCM from a binary stream, such as standard input."""

    def __init__(self, stream: BinaryIO, rate_hz: int, name: str = "-", realtime: bool = False) -> None:
        self.name = name
        self._stream = stream
        self._rate_hz = rate_hz
        self._realtime = realtime
        self._closed = threading.Event()

    def blocks(self) -> Iterator[Block]:
        """Yield what arrives; reads may return less than asked for, even half a sample. See ``Source.blocks``.

        With ``realtime`` a recording that is piped in is held back to the speed of its own clock, so that nothing of it
        is lost; a live producer is never waited on, since it is late by itself.
        """
        resample = StreamResampler(self._rate_hz)
        block_bytes = 2 * round(BLOCK_S * self._rate_hz)
        due_at_s = time.monotonic()
        data = b""
        while not self._closed.is_set():
            try:
                read = self._stream.read(block_bytes - len(data))
            except OSError as error:
                raise AudioFileError(f"{self.name}: cannot be read: {error.strerror}") from None
            data += read
            if read and len(data) < block_bytes:
                continue
            whole = len(data) // 2 * 2
            if self._realtime:
                self._closed.wait(due_at_s - time.monotonic())
                due_at_s = max(due_at_s, time.monotonic() - BLOCK_S) + BLOCK_S / CATCH_UP
            yield Block(resample(from_pcm(data[:whole]), last=not read), time.monotonic())
            if not read:
                return
            data = b""

    def close(self) -> None:
        """Stop after the current read."""
        self._closed.set()


class LiveSource:
    """Another source read by its own thread, so that it never waits for the consumer: the oldest audio is lost."""

    def __init__(self, source: Source, max_s: float) -> None:
        self.name = source.name
        self._source = source
        self._queue: BlockQueue[Block] = BlockQueue(max_s)

    def blocks(self) -> Iterator[Block]:
        """Yield the other source's blocks with the seconds lost before each; see ``Source.blocks``."""
        threading.Thread(target=self._read, name=f"capture {self.name}", daemon=True).start()
        while (item := self._queue.get()) is not None:
            block, lost_s = item
            yield replace(block, lost_s=block.lost_s + lost_s)

    def close(self) -> None:
        """Stop reading; what waits in the queue is still delivered."""
        self._source.close()
        self._queue.close()

    def _read(self) -> None:
        try:
            for block in self._source.blocks():
                self._queue.put(block, len(block.samples) / SAMPLE_RATE_HZ)
        except Exception as error:
            self._queue.close(error)
        self._queue.close()


class BlockQueue(Generic[T]):
    """Bounded hand-over from a capture thread: putting never waits; the oldest audio is overwritten and counted."""

    def __init__(self, max_s: float) -> None:
        self._max_s = max_s
        self._items: deque[tuple[T, float]] = deque()
        self._waiting_s = 0.0
        self._lost_s = 0.0
        self._closed = False
        self._error: Exception | None = None
        self._changed = threading.Condition()

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
            self._changed.notify()

    def get(self, timeout_s: float | None = None) -> tuple[T, float] | None:
        """Wait for the oldest item; return it with the seconds lost before it, or None at the end of the stream.

        Raises:
            TimeoutError: nothing arrived within ``timeout_s``.
            Exception: the one given to ``close``, once what was queued before it is delivered.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._closed, timeout_s):
                raise TimeoutError
            if self._items:
                item, duration_s = self._items.popleft()
                self._waiting_s -= duration_s
                lost_s, self._lost_s = self._lost_s, 0.0
                return item, lost_s
            if self._error:
                raise self._error
            return None

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


def from_pcm(data: bytes, channels: int = 1) -> Waveform:
    """Convert interleaved 16-bit little-endian PCM to mono ``float32[n]``, ±1, averaging the channels."""
    samples = np.frombuffer(data, "<i2").reshape(-1, channels).astype(np.float32) / 32768
    mono: Waveform = samples.mean(axis=1)
    return mono
