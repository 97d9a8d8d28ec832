"""A source that listens at an address, and what it yields; for tests with real clients."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest

from edge.audio import Waveform
from edge.capture import Block, Source, open_source
from edge.capture.address import parse_address
from edge.errors import AffectdError
from edge.settings import CaptureSettings
from helpers.signals import silence, speech_like

PATIENCE_S = 20
TALK: Waveform = np.concatenate([silence(0.2), speech_like(0.5), silence(0.2)]) / 4


def pcm_of(samples: Waveform) -> bytes:
    return (np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


class Heard:
    """What a source yields, collected by a thread."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.blocks: list[Block] = []
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for block in self.source.blocks():
                self.blocks.append(block)
        except AffectdError as error:
            self.failure = error

    def wait_for(self, what: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < deadline_s, self.reasons
            assert self._thread.is_alive() or what(), self.failure
            time.sleep(0.005)

    @property
    def samples(self) -> Waveform:
        return np.concatenate([block.samples for block in self.blocks])

    @property
    def reasons(self) -> list[tuple[str, str]]:
        return [(note.reason, note.message) for block in self.blocks for note in block.notes]

    def count(self, reason: str) -> int:
        return [found for found, _ in self.reasons].count(reason)

    def end(self) -> None:
        self.source.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@pytest.fixture
def hear() -> Iterator[Callable[..., Heard]]:
    """Listen at an address, until it is waited at, and to the end of the test."""
    opened = []

    def hear(source: str, **values: object) -> Heard:
        heard = Heard(open_source(CaptureSettings.model_validate({"source": source, "queue_s": 600, **values})))
        opened.append(heard)
        heard.wait_for(lambda: heard.count("disconnected") == 1)
        return heard

    yield hear
    for heard in opened:
        heard.end()


def send_to(address: str, data: bytes) -> socket.socket:
    found = parse_address(address)
    if found.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(found.path)
    else:
        connection = socket.create_connection((found.host, found.port))
    with suppress(OSError):
        connection.sendall(data)
    return connection
