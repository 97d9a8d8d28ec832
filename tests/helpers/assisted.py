"""An affectd that voice assistants speak to, in the test's process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from wyoming.asr import Transcript
from wyoming.event import Event

import edge
from helpers.assistants import HANGS_S
from helpers.ports import free_port
from helpers.signals import silence, speech_like

TURN = np.concatenate([silence(0.3), speech_like(1.2), silence(0.2)])


class Running:
    """An affectd that listens, and what comes out of it."""

    def __init__(self, port: int, listening: edge.listening.Listening) -> None:
        self.port, self.listening = port, listening
        self.events: list[edge.Event] = []
        threading.Thread(target=self._collect, daemon=True).start()
        self.wait_for(lambda: "disconnected" in [event.reason for event in self.events])

    def _collect(self) -> None:
        for event in self.listening:
            self.events.append(event)

    def wait_for(self, what: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + HANGS_S
        while not what():
            assert time.monotonic() < deadline_s, self.events
            time.sleep(0.01)

    @property
    def utterances(self) -> list[edge.Event]:
        return [event for event in self.events if event.type == "utterance"]


Listen = Callable[..., Any]


@pytest.fixture(scope="module")
def model(bundle_folder: Any) -> edge.Model:
    return edge.load(bundle_folder)


@pytest.fixture
def listen(model: edge.Model) -> Listen:
    @contextmanager
    def listen(upstream: str = "", **values: object) -> Iterator[Running]:
        port = free_port()
        settings = {"capture.upstream": upstream, "room.remember": False, **values}
        with edge.listen(f"wyoming://127.0.0.1:{port}", model=model, settings=settings) as events:
            yield Running(port, events)

    return listen


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def answer_in(events: list[Event]) -> Any:
    assert Transcript.is_type(events[-1].type), events
    return events[-1].data["context"]["affectd"]


def error_in(events: list[Event]) -> str:
    assert types(events)[-1] == "error", events
    assert events[-1].data["text"]
    return str(events[-1].data["code"])
