"""Standard input, or any other pipe: raw PCM, or what its header says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge.capture.base import BLOCK_S, Block, blocks_of
from edge.capture.pipe import Pipe
from edge.decoding import open_stream
from edge.errors import AudioFileError

CATCH_UP = 1.02
"""Piped audio may run this much faster than real time: a live producer's clock that beats ours must not pile up."""


class PcmSource:
    """A binary stream, such as standard input: 16-bit little-endian mono PCM, unless it begins like a WAV, FLAC, …"""

    def __init__(self, stream: BinaryIO | Path, rate_hz: int, name: str = "-", realtime: bool = False) -> None:
        """Prepare; the stream is unbuffered, or a named pipe that is opened by ``blocks``; the rate is of raw PCM."""
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
        due_at_s = 0.0

        def pace(_audio_s: float) -> None:
            nonlocal due_at_s
            if self._realtime:
                self._closed.wait(due_at_s - time.monotonic())
                due_at_s = max(due_at_s, time.monotonic() - BLOCK_S) + BLOCK_S / CATCH_UP

        try:
            if isinstance(self._stream, Path):
                self._stream = Pipe(self._stream)
            if self._closed.is_set():
                return
            with open_stream(self._stream, self.name, self._rate_hz) as reader:
                yield from blocks_of(reader, self._closed, pace)
        except AudioFileError:
            if not self._closed.is_set():  # who stops before anything has arrived is not wrong
                raise
        except OSError as error:
            raise AudioFileError(f"{self.name}: cannot be read: {error.strerror}") from None

    def close(self) -> None:
        """Stop, after the current read of a stream that cannot be stopped."""
        self._closed.set()
        if isinstance(self._stream, Pipe):
            self._stream.stop()
