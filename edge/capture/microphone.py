"""The microphone, through PortAudio, whose callback does nothing but enqueue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from edge.audio import mono
from edge.capture.base import BLOCK_S, Block, BlockQueue, Rest, StreamResampler
from edge.capture.default_device import DefaultDevice
from edge.capture.devices import (
    Device,
    choose_device,
    end_portaudio,
    input_devices,
    quiet_stderr,
    same_device,
    start_portaudio,
)
from edge.decoding.raw import from_pcm
from edge.errors import AudioDeviceError

START_S, STALL_S = 5.0, 0.8
"""Without a callback: sound servers take a while to start a device, and deliver regularly from then on."""
PA_INT16, PA_CONTINUE = 8, 0

log = logging.getLogger(__name__)


class Chunk(NamedTuple):
    """What one callback delivered."""

    pcm: bytes
    """Interleaved int16."""
    captured_at_s: float
    duration_s: float


class Microphone:
    """A microphone at its native rate. Implements ``capture.Source``; ``blocks`` finds the device again by its name."""

    can_wait = False

    def __init__(self, device: str = "", queue_s: float = 10.0) -> None:
        self.name = device or "default microphone"
        self._wanted, self._queue_s = device, queue_s
        self._device: Device | None = None
        self._default = DefaultDevice()
        self.rest = Rest()
        self._queue: BlockQueue[Chunk] = BlockQueue(queue_s)
        self._closed = threading.Event()

    def blocks(self) -> Iterator[Block]:
        """Yield blocks until ``close``; may be called again when it has ended.

        Raises:
            AudioDeviceError: the microphone cannot be opened, delivers nothing any longer, which is all that PortAudio
                shows of an unplugged device, or is the default one no longer.
        """
        if self._closed.is_set():
            return
        self._queue = BlockQueue(self._queue_s, self.rest)
        stream = self._open()
        try:
            if not self._wanted:
                self._default.open()
            item = self._next(START_S)
            while item:
                chunk, lost_s = item
                yield stream.block(chunk, lost_s)
                item = self._next(STALL_S)
        finally:
            self._default.close()
            stream.close()

    def close(self) -> None:
        """Stop capturing; what waits in the queue is still delivered."""
        self._closed.set()
        self._queue.close()

    def _open(self) -> _Stream:
        system = start_portaudio()
        try:
            devices = input_devices(system)
            if self._device is None or not self._wanted:
                self._device = choose_device(devices, self._wanted)
            else:
                self._device = same_device(devices, self._device)
            self.name = self._device.name
            stream = _Stream(system, self._device, self._queue)
        except BaseException:
            end_portaudio(system)
            raise
        if self._closed.is_set():  # before there was this queue to close
            self._queue.close()
        return stream

    def _next(self, longest_s: float) -> tuple[Chunk, float] | None:
        if self._default.has_changed:
            raise AudioDeviceError(f"microphone {self.name!r}: another one is the default now")
        try:
            return self._queue.get(longest_s)
        except TimeoutError:
            raise AudioDeviceError(f"microphone {self.name!r} delivers no audio") from None


class _Stream:
    """An open input stream and the PortAudio it belongs to: PortAudio lists the devices only when it starts."""

    def __init__(self, system: Any, device: Device, queue: BlockQueue[Chunk]) -> None:
        self._system = system
        self._rate_hz = device.rate_hz
        self._resample = StreamResampler(device.rate_hz)
        # Some devices offer nothing but all their channels.
        for self._channels in (1, device.channels):
            try:
                self._stream = self._start(device, queue)
                return
            except OSError as error:
                reason = error
        raise AudioDeviceError(f"microphone {device.name!r} cannot be opened: {reason}")

    def block(self, chunk: Chunk, lost_s: float) -> Block:
        """Return what the chunk completes, at 16 kHz."""
        arrived = from_pcm(chunk.pcm, self._channels)
        samples = self._resample(mono(arrived))
        return Block(samples, chunk.captured_at_s, lost_s, arrived=arrived, rate_hz=self._rate_hz)

    def close(self) -> None:
        """Close the stream and its PortAudio; both may be broken already."""
        for close in (self._stream.close, self._system.terminate):
            try:
                with quiet_stderr():
                    close()
            except OSError as error:
                log.debug("while closing a microphone: %s", error)

    def _start(self, device: Device, queue: BlockQueue[Chunk]) -> Any:
        with quiet_stderr():
            return self._system.open(
                rate=device.rate_hz,
                channels=self._channels,
                format=PA_INT16,
                input=True,
                input_device_index=device.index,
                frames_per_buffer=round(BLOCK_S * device.rate_hz),
                stream_callback=enqueue_into(queue, device.rate_hz),
            )


def enqueue_into(queue: BlockQueue[Chunk], rate_hz: int) -> Callable[[bytes, int, object, int], tuple[None, int]]:
    """Return the PortAudio callback. It runs on the audio thread, so it enqueues and does nothing else."""

    def callback(pcm: bytes, frames: int, _times: object, _flags: int) -> tuple[None, int]:
        duration_s = frames / rate_hz
        queue.put(Chunk(pcm, time.monotonic(), duration_s), duration_s)
        return None, PA_CONTINUE

    return callback
