"""What an engine runs on in tests: a source that plays a waveform, an output that records, a slow recogniser."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from edge.audio import Waveform
from edge.capture import Block
from edge.event import Event
from edge.recognizer import Encoding, Recognizer
from edge.settings import EncoderSettings, Settings
from helpers.signals import silence, speech_like

BLOCK_SAMPLES = 800


class Played:
    """A source that delivers a waveform without waiting; ``at_end`` may raise, and ``ended`` tells when it is over."""

    def __init__(
        self,
        samples: Waveform,
        at_end: Callable[[], None] = lambda: None,
        lost_s: float = 0.0,
        can_wait: bool = True,
        name: str = "played",
    ) -> None:
        self.name = name
        self.samples, self.at_end, self.lost_s, self.can_wait = samples, at_end, lost_s, can_wait
        self.ended, self.closed, self.opened = threading.Event(), False, False

    def blocks(self) -> Iterator[Block]:
        self.opened = True
        for start in range(0, len(self.samples), BLOCK_SAMPLES):
            if self.closed:
                return
            yield Block(self.samples[start : start + BLOCK_SAMPLES], time.monotonic(), 0.0 if start else self.lost_s)
        self.ended.set()
        self.at_end()

    def close(self) -> None:
        self.closed = True


class Recorder:
    """An output that keeps what it gets, and calls back."""

    def __init__(self, on_event: Callable[[Event], None] = lambda event: None) -> None:
        self.name = "recorder"
        self.events: list[Event] = []
        self.on_event = on_event

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def write(self, event: Event) -> None:
        self.events.append(event)
        self.on_event(event)

    def of(self, event_type: str) -> list[Event]:
        return [event for event in self.events if event.type == event_type]


class Gated(Recognizer):
    """A recogniser that is slow: it waits for a gate before each utterance."""

    gate: threading.Event

    def encode(self, waveforms: Sequence[Waveform], voiceprints: bool = False) -> list[Encoding]:
        assert self.gate.wait(30)
        return super().encode(waveforms, voiceprints)


def encoder(**encoder: int) -> Settings:
    return Settings(encoder=EncoderSettings(**encoder))


def turns(count: int) -> Waveform:
    parts = [silence(0.5)]
    for seed in range(count):
        parts += [speech_like(0.8, seed), silence(0.8, seed=seed)]
    return np.concatenate(parts)
