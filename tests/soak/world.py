"""The world of a soak test: devices that play real speech on a fast clock, and fail when they are told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.capture import BLOCK_S, Block, LiveSource, PersistentSource, Source
from edge.errors import AudioDeviceError

ROOT = Path(__file__).resolve().parents[2]
BLOCK = round(BLOCK_S * SAMPLE_RATE_HZ)
LOOP_S = 40.0
"""A conversation of 13 s, and then nobody."""
FLOODED = "flood"
"""The device that floods, as a network source may, and is therefore read by a thread of its own."""
FLOOD = 20
"""A flooding device delivers so many times as fast."""


def speech() -> Waveform:
    """Return one loop of what is heard: the example conversation, and the noise of a quiet room."""
    talk = read_audio(ROOT / "examples" / "conversation.flac")
    loop = 1e-4 * np.random.default_rng(0).standard_normal(round(LOOP_S * SAMPLE_RATE_HZ)).astype(np.float32)
    loop[: len(talk)] += talk
    return loop


class Clock:
    """Time that passes faster than it does."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._started_s = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds of the world since it began."""
        return (time.monotonic() - self._started_s) * self.speed


class Device:
    """A microphone of the world. It delivers its loop on the world's clock, and counts what it delivered."""

    can_wait = False

    def __init__(self, name: str, clock: Clock, loop: Waveform, offset_s: float) -> None:
        self.name = name
        self.is_plugged = True
        self.is_flooding = False
        self.delivered_s = 0.0
        self._clock, self._loop = clock, loop
        self._place = round(offset_s * SAMPLE_RATE_HZ) // BLOCK * BLOCK
        self._closed = threading.Event()

    def blocks(self) -> Iterator[Block]:
        """Yield the loop, for ever; raises AudioDeviceError when it is unplugged."""
        due_s = self._clock.now_s
        while not self._closed.is_set():
            if not self.is_plugged:
                raise AudioDeviceError(f"microphone {self.name!r} delivers no audio")
            due_s += BLOCK_S / (FLOOD if self.is_flooding else 1)
            late_s = self._clock.now_s - due_s
            if late_s < 0:
                self._closed.wait(-late_s / self._clock.speed)
            elif late_s > 10:  # the machine is too slow for this clock: that is not the device's affair
                due_s = self._clock.now_s
            samples = self._loop[self._place : self._place + BLOCK]
            self._place = (self._place + BLOCK) % (len(self._loop) // BLOCK * BLOCK)
            self.delivered_s += BLOCK_S
            yield Block(samples, time.monotonic())

    def close(self) -> None:
        """End it."""
        self._closed.set()


class World:
    """Devices by name; those that were opened in the course of a run are kept, so that their audio can be counted."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.devices: list[Device] = []
        self._loop = speech()

    def open(self, name: str) -> Source:
        """Return a device as the product opens a microphone, behind a queue that overwrites what nobody takes."""
        device = Device(name, self.clock, self._loop, 7.0 * len(self.devices))
        self.devices.append(device)
        return LiveSource(device, 2.0) if name == FLOODED else PersistentSource(device, patient=True)
