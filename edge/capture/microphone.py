"""The microphone, through PortAudio: survives unplugging, and its callback does nothing but enqueue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from edge.audio import mono
from edge.capture.base import BLOCK_S, Block, BlockQueue, StreamResampler
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

STALL_S = 2.0
PA_INT16, PA_CONTINUE = 8, 0
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 10.0

log = logging.getLogger(__name__)


class Chunk(NamedTuple):
    """What one callback delivered."""

    pcm: bytes
    """Interleaved int16."""
    captured_at_s: float
    duration_s: float


class Microphone:
    """A microphone at its native rate, re-opened by name whenever it goes away. Implements ``capture.Source``."""

    can_wait = False

    def __init__(self, device: str = "", queue_s: float = 10.0) -> None:
        self.name = device or "default microphone"
        self._wanted = device
        self._device: Device | None = None
        self._queue: BlockQueue[Chunk] = BlockQueue(queue_s)
        self._closed = threading.Event()
        self._delivered_until_s = 0.0

    def blocks(self) -> Iterator[Block]:
        """Yield blocks until ``close``. The first block after an outage is ``restarted``, its ``lost_s`` the outage.

        Raises:
            AudioDeviceError: the microphone cannot be opened at first; later outages are retried for ever.
        """
        stream: _Stream | None = self._open()
        self._delivered_until_s = time.monotonic()
        restarted = False
        while stream:
            try:
                yield from self._listen(stream, restarted)
            finally:
                stream.close()
            stream = self._reopen()
            restarted = True

    def close(self) -> None:
        """Stop capturing; what waits in the queue is still delivered."""
        self._closed.set()
        self._queue.close()

    def _open(self) -> _Stream:
        system = start_portaudio()
        try:
            devices = input_devices(system)
            if self._device is None:
                self._device = choose_device(devices, self._wanted)
            else:
                self._device = same_device(devices, self._device)
            self.name = self._device.name
            return _Stream(system, self._device, self._queue)
        except BaseException:
            end_portaudio(system)
            raise

    def _reopen(self) -> _Stream | None:
        if not self._closed.is_set():
            log.warning("microphone %r delivers no audio; trying to re-open it", self.name)
        retry_s = FIRST_RETRY_S
        while not self._closed.is_set():
            try:
                return self._open()
            except AudioDeviceError:
                self._closed.wait(retry_s)
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
        return None

    def _listen(self, stream: _Stream, restarted: bool) -> Iterator[Block]:
        """Yield until the callbacks stop: PortAudio reports an unplugged device in no other way."""
        while True:
            try:
                item = self._queue.get(STALL_S)
            except TimeoutError:
                return
            if item is None:
                return
            chunk, lost_s = item
            if restarted:
                lost_s = max(0.0, chunk.captured_at_s - chunk.duration_s - self._delivered_until_s)
                log.warning("microphone %r is back after %.1f s", self.name, lost_s)
            self._delivered_until_s = chunk.captured_at_s
            yield stream.block(chunk, lost_s, restarted)
            restarted = False


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

    def block(self, chunk: Chunk, lost_s: float, restarted: bool) -> Block:
        """Return what the chunk completes, at 16 kHz."""
        arrived = from_pcm(chunk.pcm, self._channels)
        samples = self._resample(mono(arrived))
        return Block(samples, chunk.captured_at_s, lost_s, restarted, arrived, self._rate_hz)

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
