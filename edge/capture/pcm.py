"""Raw PCM from standard input or any other binary stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import BinaryIO

from edge.audio import mono
from edge.capture.base import BLOCK_S, Block, StreamResampler, from_pcm
from edge.errors import AudioFileError

CATCH_UP = 1.02
"""Piped audio may run this much faster than real time: a live producer's clock that beats ours must not pile up."""


class PcmSource:
    """Raw 16-bit little-endian mono PCM from a binary stream, such as standard input."""

    def __init__(self, stream: BinaryIO, rate_hz: int, name: str = "-", realtime: bool = False) -> None:
        self.name = name
        self.can_wait = not realtime
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
            arrived = from_pcm(data[:whole])
            samples = resample(mono(arrived), last=not read)
            yield Block(samples, time.monotonic(), arrived=arrived, rate_hz=self._rate_hz)
            if not read:
                return
            data = b""

    def close(self) -> None:
        """Stop after the current read."""
        self._closed.set()
