"""Audio files as sources."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from edge.capture.base import Block, blocks_of
from edge.decoding import open_audio


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
        with open_audio(self._path) as reader:
            started_at_s = time.monotonic()

            def pace(audio_s: float) -> None:
                if self._realtime:
                    self._closed.wait(started_at_s + audio_s - time.monotonic())

            yield from blocks_of(reader, self._closed, pace)

    def close(self) -> None:
        """Stop after the current block."""
        self._closed.set()
