"""Audio files as sources."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.audio import mono, open_audio, read_channels
from edge.capture.base import BLOCK_S, Block, StreamResampler
from edge.errors import AudioFileError


class FileSource:
    """An audio file, decoded block by block, so its length does not matter."""

    def __init__(self, path: Path, realtime: bool = False) -> None:
        self.name = path.name
        self.can_wait = not realtime
        self._path = path
        self._realtime = realtime
        self._closed = threading.Event()

    def blocks(self) -> Iterator[Block]:
        """Yield the file, at the speed of a real clock if ``realtime``; see ``Source.blocks``."""
        with open_audio(self._path) as file:
            resample = StreamResampler(file.samplerate)
            started_at_s = time.monotonic()
            frames = 0
            while (arrived := read_channels(file, round(BLOCK_S * file.samplerate), self._path)) is not None:
                frames += len(arrived)
                if self._realtime:
                    self._closed.wait(started_at_s + frames / file.samplerate - time.monotonic())
                if self._closed.is_set():
                    return
                yield Block(resample(mono(arrived)), time.monotonic(), arrived=arrived, rate_hz=file.samplerate)
            if not frames:
                raise AudioFileError(f"{self._path}: holds no audio")
            rest = resample(np.zeros(0, np.float32), last=True)
            nothing = np.zeros((0, file.channels), np.float32)
            yield Block(rest, time.monotonic(), arrived=nothing, rate_hz=file.samplerate)

    def close(self) -> None:
        """Stop after the current block."""
        self._closed.set()
