"""Audio files as sources."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.audio import open_audio, read_block
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
