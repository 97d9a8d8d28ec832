"""The microphone, through PortAudio: survives unplugging, and its callback does nothing but enqueue."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from edge.capture import BLOCK_S, Block, BlockQueue, StreamResampler, from_pcm
from edge.errors import AudioDeviceError, nearest

STALL_S = 2.0
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """An input device as PortAudio lists it."""

    index: int
    name: str
    rate_hz: int
    """Native sample rate."""
    channels: int
    is_default: bool
    host_api: str

    @property
    def lasting_name(self) -> str:
        """The name without ALSA's card number, which changes when a device is plugged in again."""
        return re.sub(r" \(hw:\d+,\d+\)$", "", self.name)


class Chunk(NamedTuple):
    """What one callback delivered."""

    pcm: bytes
    """Interleaved int16."""
    captured_at_s: float
    duration_s: float


def list_devices() -> list[Device]:
    """Return the input devices that are there now.

    Raises:
        AudioDeviceError: PyAudio is not installed or PortAudio does not start.
    """
    system = _start_portaudio()
    try:
        return _input_devices(system)
    finally:
        system.terminate()


def choose_device(devices: list[Device], wanted: str) -> Device:
    """Return the device with this index, name or part of a name (in any case); the default one if ``wanted`` is empty.

    Raises:
        AudioDeviceError: none or several match; the message lists what is there.
    """
    listing = "; ".join(f"{device.index}: {device.name}" for device in devices) or "none"
    if not wanted:
        found = [device for device in devices if device.is_default]
    elif wanted.isdecimal():
        found = [device for device in devices if device.index == int(wanted)]
    else:
        # Several host APIs may offer one device under the same name; PortAudio lists the preferred API first.
        found = [device for device in devices if device.name == wanted][:1]
        found = found or [device for device in devices if wanted.casefold() in device.name.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        raise AudioDeviceError(f"microphone {wanted!r} is ambiguous; microphones: {listing}")
    hint = nearest(wanted, (device.name for device in devices))
    missing = f"no microphone {wanted!r}{hint}" if wanted else "no default microphone"
    raise AudioDeviceError(f"{missing}; microphones: {listing}")


class Microphone:
    """A microphone at its native rate, re-opened by name whenever it goes away. Implements ``capture.Source``."""

    def __init__(self, device: str = "", queue_s: float = 10.0) -> None:
        self.name = device or "default microphone"
        self._wanted = device
        self._queue: BlockQueue[Chunk] = BlockQueue(queue_s)
        self._closed = threading.Event()
        self._device: Device | None = None

    def blocks(self) -> Iterator[Block]:
        """Yield blocks until ``close``. A block after an outage is ``restarted`` and tells how long the outage was.

        Raises:
            AudioDeviceError: the microphone cannot be opened at first; later outages are retried for ever.
        """
        capture = self._open()
        heard_until_s = time.monotonic()
        restarted = False
        try:
            while True:
                try:
                    item = self._queue.get(STALL_S)
                except TimeoutError:
                    capture.close()
                    capture = self._reopen()
                    restarted = True
                    continue
                if item is None:
                    return
                chunk, lost_s = item
                if restarted:
                    lost_s = max(0.0, chunk.captured_at_s - chunk.duration_s - heard_until_s)
                    log.warning("microphone %r is back after %.1f s", self.name, lost_s)
                heard_until_s = chunk.captured_at_s
                yield Block(capture.convert(chunk.pcm), chunk.captured_at_s, lost_s, restarted)
                restarted = False
        finally:
            capture.close()

    def close(self) -> None:
        """Stop capturing; what waits in the queue is still delivered."""
        self._closed.set()
        self._queue.close()
