"""The microphones that PortAudio lists, and which of them is meant."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edge.errors import AudioDeviceError, nearest, printable


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


def list_devices() -> list[Device]:
    """Return the input devices that are there now.

    Raises:
        AudioDeviceError: PyAudio is not installed or PortAudio does not start.
    """
    system = start_portaudio()
    try:
        return input_devices(system)
    finally:
        end_portaudio(system)


def choose_device(devices: list[Device], wanted: str) -> Device:
    """Return the device with this index, name or part of a name (in any case); the default one if ``wanted`` is empty.

    Raises:
        AudioDeviceError: none or several match; the message lists what is there.
    """
    wanted = _readable(wanted)
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


def start_portaudio() -> Any:
    """Return a new PortAudio, which lists what is plugged in now; its ``terminate`` ends it.

    Raises:
        AudioDeviceError: PyAudio is not installed or PortAudio does not start.
    """
    try:
        import pyaudio  # noqa: PLC0415  (an optional extra that loads a system library)
    except ImportError as error:
        raise AudioDeviceError(
            f"the microphone needs PyAudio ({error}): apt install portaudio19-dev && pip install 'affectd[mic]'"
        ) from None
    with quiet_stderr():
        try:
            return pyaudio.PyAudio()
        except OSError as error:
            raise AudioDeviceError(f"PortAudio does not start: {error}") from None


def end_portaudio(system: Any) -> None:
    """Let go of a PortAudio, and of the streams that it has open."""
    with quiet_stderr():
        system.terminate()


def input_devices(system: Any) -> list[Device]:
    """Return the devices of a PortAudio that have an input."""
    with quiet_stderr():
        return _input_devices(system)


def _input_devices(system: Any) -> list[Device]:
    try:
        default = system.get_default_input_device_info()["index"]
    except OSError:
        default = None
    infos = [system.get_device_info_by_index(index) for index in range(system.get_device_count())]
    return [
        Device(
            index=info["index"],
            name=_readable(info["name"]),
            rate_hz=round(info["defaultSampleRate"]),
            channels=info["maxInputChannels"],
            is_default=info["index"] == default,
            host_api=_readable(system.get_host_api_info_by_index(info["hostApi"])["name"]),
        )
        for info in infos
        if info["maxInputChannels"] > 0
    ]


def _readable(name: str | bytes) -> str:
    r"""Return a name that can be shown, typed and written as JSON: what is not UTF-8 in it is ``\xfc`` and the like.

    PyAudio hands over the bytes of a name that is not UTF-8, and surrogates where the locale is not.
    """
    data = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    return printable(data.decode("utf-8", "backslashreplace"))


def same_device(devices: list[Device], device: Device) -> Device:
    """Return the device that was plugged in again, perhaps as another card; raises AudioDeviceError if it is gone."""
    same = [other for other in devices if other.lasting_name == device.lasting_name]
    if not same:
        raise AudioDeviceError(f"microphone {device.name!r} is gone")
    return next((other for other in same if other.name == device.name), same[0])


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: ALSA and JACK write there about every device that is not present."""
    if sys.stderr:
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
