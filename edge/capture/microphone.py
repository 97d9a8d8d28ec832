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

from edge.audio import Waveform
from edge.capture import BLOCK_S, Block, BlockQueue, StreamResampler, from_pcm
from edge.errors import AudioDeviceError, nearest

STALL_S = 2.0
PA_INT16, PA_CONTINUE = 8, 0
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
        self._device: Device | None = None
        self._queue: BlockQueue[Chunk] = BlockQueue(queue_s)
        self._closed = threading.Event()
        self._heard_until_s = 0.0

    def blocks(self) -> Iterator[Block]:
        """Yield blocks until ``close``. The first block after an outage is ``restarted``, its ``lost_s`` the outage.

        Raises:
            AudioDeviceError: the microphone cannot be opened at first; later outages are retried for ever.
        """
        stream: _Stream | None = self._open()
        self._heard_until_s = time.monotonic()
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
        system = _start_portaudio()
        try:
            devices = _input_devices(system)
            if self._device is None:
                self._device = choose_device(devices, self._wanted)
            else:
                self._device = _same_device(devices, self._device)
            self.name = self._device.name
            return _Stream(system, self._device, self._queue)
        except BaseException:
            system.terminate()
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
        """Yield until the callbacks stop: PortAudio tells of an unplugged device in no other way."""
        while True:
            try:
                item = self._queue.get(STALL_S)
            except TimeoutError:
                return
            if item is None:
                return
            chunk, lost_s = item
            if restarted:
                lost_s = max(0.0, chunk.captured_at_s - chunk.duration_s - self._heard_until_s)
                log.warning("microphone %r is back after %.1f s", self.name, lost_s)
            self._heard_until_s = chunk.captured_at_s
            yield Block(stream.resample(chunk), chunk.captured_at_s, lost_s, restarted)
            restarted = False


class _Stream:
    """An open input stream and the PortAudio it belongs to: PortAudio lists the devices only when it starts."""

    def __init__(self, system: Any, device: Device, queue: BlockQueue[Chunk]) -> None:
        self._system = system
        self._resample = StreamResampler(device.rate_hz)
        # Some devices offer nothing but all their channels.
        for self._channels in (1, device.channels):
            try:
                self._stream = self._start(device, queue)
                return
            except OSError as error:
                reason = error
        raise AudioDeviceError(f"microphone {device.name!r} cannot be opened: {reason}")

    def resample(self, chunk: Chunk) -> Waveform:
        """Return the 16 kHz mono ``float32[n]`` that the chunk completes."""
        return self._resample(from_pcm(chunk.pcm, self._channels))

    def close(self) -> None:
        """Close the stream and its PortAudio; both may be broken already."""
        for close in (self._stream.close, self._system.terminate):
            try:
                close()
            except OSError as error:
                log.debug("while closing a microphone: %s", error)

    def _start(self, device: Device, queue: BlockQueue[Chunk]) -> Any:
        with _quiet_stderr():
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


def _start_portaudio() -> Any:
    try:
        import pyaudio  # noqa: PLC0415  (an optional extra that loads a system library)
    except ImportError as error:
        raise AudioDeviceError(
            f"the microphone needs PyAudio ({error}): apt install portaudio19-dev && pip install 'affectd[mic]'"
        ) from None
    with _quiet_stderr():
        try:
            return pyaudio.PyAudio()
        except OSError as error:
            raise AudioDeviceError(f"PortAudio does not start: {error}") from None


def _input_devices(system: Any) -> list[Device]:
    try:
        default = system.get_default_input_device_info()["index"]
    except OSError:
        default = None
    infos = [system.get_device_info_by_index(index) for index in range(system.get_device_count())]
    return [
        Device(
            index=info["index"],
            name=info["name"],
            rate_hz=round(info["defaultSampleRate"]),
            channels=info["maxInputChannels"],
            is_default=info["index"] == default,
            host_api=system.get_host_api_info_by_index(info["hostApi"])["name"],
        )
        for info in infos
        if info["maxInputChannels"] > 0
    ]


def _same_device(devices: list[Device], device: Device) -> Device:
    same = [other for other in devices if other.lasting_name == device.lasting_name]
    if not same:
        raise AudioDeviceError(f"microphone {device.name!r} is gone")
    return next((other for other in same if other.name == device.name), same[0])


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: ALSA and JACK write there about every device that is not present."""
    sys.stderr.flush()
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(nowhere)
        os.close(stderr)
