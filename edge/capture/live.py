"""A source that keeps the pace of the world: what its consumer is too slow for is lost and counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

from edge.audio import SAMPLE_RATE_HZ
from edge.capture.base import Block, BlockQueue, Rest, Source


class LiveSource:
    """Another source read by its own thread, so that it never waits for the consumer: the oldest audio is lost."""

    can_wait = False

    def __init__(self, source: Source, max_s: float) -> None:
        self.name = source.name
        self.inner = source
        self.rest = Rest()
        self._queue: BlockQueue[Block] = BlockQueue(max_s, self.rest)

    def blocks(self) -> Iterator[Block]:
        """Yield the other source's blocks with the seconds lost before each; see ``Source.blocks``."""
        threading.Thread(target=self._read, name=f"capture {self.name}", daemon=True).start()
        while (item := self._queue.get()) is not None:
            block, lost_s = item
            yield replace(block, lost_s=block.lost_s + lost_s)

    def close(self) -> None:
        """Stop reading; what waits in the queue is still delivered."""
        self.inner.close()
        self._queue.close()

    def _read(self) -> None:
        try:
            for block in self.inner.blocks():
                self._queue.put(block, len(block.samples) / SAMPLE_RATE_HZ)
        except Exception as error:
            self._queue.close(error)
        self._queue.close()
