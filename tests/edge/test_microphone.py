import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from edge.audio import SAMPLE_RATE_HZ
from edge.capture import Block, PersistentSource, microphone, persistent
from edge.capture.base import BlockQueue
from edge.capture.devices import Device, choose_device, list_devices
from edge.capture.microphone import Chunk, Microphone, enqueue_into
from edge.decoding import Note
from edge.errors import AudioDeviceError
from edge.segmenter import Segmenter
from edge.settings import SegmenterSettings, VadSettings
from helpers.signals import silence, speech_like
from helpers.virtual_microphone import VirtualMicrophone

Callback = Callable[[bytes, int, object, int], tuple[None, int]]


class FakePortAudio:
    """A PortAudio whose device list is fixed when it starts, as the real one's; the test calls the callback."""

    plugged: tuple[tuple[str | bytes, int, int], ...] = (("USB Mic: Audio (hw:1,0)", 48_000, 2), ("Webcam", 16_000, 1))
    mono = True
    running = 0
    callback: Callback | None = None
    opened: list[dict[str, Any]]

    def __init__(self) -> None:
        os.write(2, b"ALSA lib chatter\n")
        self._devices = FakePortAudio.plugged
        FakePortAudio.running += 1

    def get_device_count(self) -> int:
        return len(self._devices)

    def get_device_info_by_index(self, index: int) -> dict[str, Any]:
        name, rate_hz, channels = self._devices[index]
        return {
            "index": index,
            "name": name,
            "defaultSampleRate": float(rate_hz),
            "maxInputChannels": channels,
            "hostApi": 0,
        }

    def get_default_input_device_info(self) -> dict[str, Any]:
        os.write(2, b"PortAudio chatter\n")
        if not self._devices:
            raise OSError("No Default Input Device Available")
        return self.get_device_info_by_index(0)

    def get_host_api_info_by_index(self, index: int) -> dict[str, Any]:
        return {"index": index, "name": "ALSA"}

    def open(self, **options: Any) -> SimpleNamespace:
        if options["channels"] == 1 and not FakePortAudio.mono:
            raise OSError(-9998, "Invalid number of channels")
        FakePortAudio.opened.append(options)
        FakePortAudio.callback = options["stream_callback"]
        return SimpleNamespace(close=self._forget)

    def _forget(self) -> None:
        os.write(2, b"chatter to the last\n")
        FakePortAudio.callback = None

    def terminate(self) -> None:
        os.write(2, b"more chatter\n")
        FakePortAudio.running -= 1


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakePortAudio]]:
    monkeypatch.setattr(FakePortAudio, "plugged", FakePortAudio.plugged)
    monkeypatch.setattr(FakePortAudio, "mono", True)
    monkeypatch.setattr(FakePortAudio, "opened", [], raising=False)
    monkeypatch.setitem(sys.modules, "pyaudio", SimpleNamespace(PyAudio=FakePortAudio))
    monkeypatch.setattr(microphone, "STALL_S", 0.3)
    monkeypatch.setattr(persistent, "FIRST_RETRY_S", 0.02)
    yield FakePortAudio
    assert FakePortAudio.running == 0


def speak(blocks: int = 1, rate_hz: int = 48_000, channels: int = 1) -> None:
    """Deliver blocks of 50 ms as PortAudio's thread would, once a stream is open."""
    for _ in range(500):
        if callback := FakePortAudio.callback:
            break
        time.sleep(0.01)
    else:
        raise AssertionError("no stream was opened")
    frames = rate_hz // 20
    for _ in range(blocks):
        callback(np.full(frames * channels, 8192, "<i2").tobytes(), frames, None, 0)


def speak_later(*rounds: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        for action in rounds:
            action()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


DEVICES = [
    Device(0, "USB Mic: Audio (hw:1,0)", 48_000, 2, False, "ALSA"),
    Device(3, "USB Camera: Audio (hw:2,0)", 16_000, 1, False, "ALSA"),
    Device(5, "default", 44_100, 32, True, "ALSA"),
]


def test_the_callback_only_enqueues(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("work on the audio thread")

    for owner, name in ((soxr.ResampleStream, "resample_chunk"), (np, "frombuffer"), (microphone, "from_pcm")):
        monkeypatch.setattr(owner, name, forbidden)
    monkeypatch.setattr(microphone.log, "handle", forbidden)
    queue: BlockQueue[Chunk] = BlockQueue(0.2)
    callback = enqueue_into(queue, 48_000)
    pcm = bytes(2 * 2400)
    started_at_s = time.monotonic()
    for _ in range(10_000):
        # Nobody takes anything: the queue is full after four blocks, and putting still does not wait.
        assert callback(pcm, 2400, None, 2) == (None, 0)
    assert time.monotonic() - started_at_s < 5
    item = queue.get()
    assert item is not None
    chunk, lost_s = item
    assert chunk.pcm is pcm
    assert lost_s == pytest.approx(9_996 * 0.05)


@pytest.mark.parametrize(
    ("wanted", "index"), [("", 5), ("3", 3), ("usb mic", 0), ("default", 5), ("USB Camera: Audio (hw:2,0)", 3)]
)
def test_choosing_a_device(wanted: str, index: int) -> None:
    assert choose_device(DEVICES, wanted).index == index


@pytest.mark.parametrize(
    ("devices", "wanted", "message"),
    [
        (DEVICES, "USB", "'USB' is ambiguous; microphones: 0: USB Mic.*; 3: USB Camera.*; 5: default"),
        (DEVICES, "defualt", "no microphone 'defualt' .did you mean 'default'.*; microphones: 0: USB Mic"),
        (DEVICES, "4", "no microphone '4'; microphones: 0"),
        ([], "", "no default microphone; microphones: none"),
    ],
)
def test_absent_and_ambiguous_devices(devices: list[Device], wanted: str, message: str) -> None:
    with pytest.raises(AudioDeviceError, match=message) as caught:
        choose_device(devices, wanted)
    assert caught.value.exit_code == 4


def test_a_missing_pyaudio_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(AudioDeviceError, match=r"pip install 'affectd\[mic\]'"):
        list_devices()


def test_listing_devices_is_quiet(portaudio: type[FakePortAudio], capfd: pytest.CaptureFixture[str]) -> None:
    assert list_devices() == [
        Device(0, "USB Mic: Audio (hw:1,0)", 48_000, 2, True, "ALSA"),
        Device(1, "Webcam", 16_000, 1, False, "ALSA"),
    ]
    print("still here", file=sys.stderr)
    assert capfd.readouterr().err == "still here\n"


@pytest.mark.parametrize("mono", [True, False])
def test_captures_at_the_native_rate_and_resamples_in_the_consumer(portaudio: type[FakePortAudio], mono: bool) -> None:
    portaudio.mono = mono
    source = Microphone("usb", queue_s=60)
    thread = speak_later(lambda: speak(40, channels=1 if mono else 2), source.close)
    blocks = list(source.blocks())
    samples = np.concatenate([block.samples for block in blocks])
    thread.join()
    assert [(options["rate"], options["channels"]) for options in portaudio.opened] == [(48_000, 1 if mono else 2)]
    arrived = [block.arrived.shape for block in blocks if block.arrived is not None and block.rate_hz == 48_000]
    assert arrived == [(2_400, 1 if mono else 2)] * 40
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE_HZ, abs=0.1 * SAMPLE_RATE_HZ)
    assert samples[1000:-1000] == pytest.approx(0.25, abs=0.001)
    assert source.name == "USB Mic: Audio (hw:1,0)"


def test_the_first_opening_fails_at_once(portaudio: type[FakePortAudio]) -> None:
    portaudio.plugged = ()
    with pytest.raises(AudioDeviceError, match="no default microphone"):
        next(Microphone().blocks())


def test_survives_unplugging_and_finds_the_device_by_name(portaudio: type[FakePortAudio]) -> None:
    def unplug() -> None:
        portaudio.plugged = (("Webcam", 16_000, 1),)
        while portaudio.callback:
            time.sleep(0.01)
        time.sleep(0.1)

    def plug_in_elsewhere() -> None:
        portaudio.plugged = (("Webcam", 16_000, 1), ("USB Mic: Audio (hw:3,0)", 48_000, 2))

    source = PersistentSource(Microphone("0", queue_s=60))
    thread = speak_later(lambda: speak(5), unplug, plug_in_elsewhere, lambda: speak(5), source.close)
    blocks = list(source.blocks())
    thread.join()
    gone = blocks.pop(5)
    assert (len(gone.samples), gone.restarted) == (0, True), "what was being said ends"
    assert gone.notes == (
        Note("disconnected", "microphone 'USB Mic: Audio (hw:1,0)' delivers no audio; it is tried again"),
    )
    assert [block.restarted for block in blocks] == [False] * 5 + [True] + [False] * 4
    assert blocks[5].lost_s == pytest.approx(blocks[5].captured_at_s - 0.05 - blocks[4].captured_at_s)
    assert blocks[5].lost_s > 0.1
    assert blocks[5].notes == (Note("connected", f"is back after {blocks[5].lost_s:.1f} s"),)
    assert all(block.lost_s == 0 for block in blocks[:5] + blocks[6:])
    assert portaudio.opened[-1]["input_device_index"] == 1
    assert source.name == "USB Mic: Audio (hw:3,0)"


def test_closing_during_an_outage_ends_the_stream(portaudio: type[FakePortAudio]) -> None:
    source = PersistentSource(Microphone("usb"))

    def unplug() -> None:
        portaudio.plugged = ()
        time.sleep(0.3)

    thread = speak_later(speak, unplug, source.close)
    assert sum(block.arrived is not None for block in source.blocks()) == 1
    thread.join()


def test_a_slow_consumer_loses_the_oldest_audio(portaudio: type[FakePortAudio]) -> None:
    source = Microphone(queue_s=1.0)
    blocks = source.blocks()
    thread = speak_later(lambda: speak(100), source.close)
    delivered = [next(blocks)]
    thread.join()
    delivered += blocks
    assert sum(block.lost_s for block in delivered) + 0.05 * len(delivered) == pytest.approx(5.0)
    assert len(delivered) <= 22


@pytest.mark.slow
def test_real_portaudio_hears_speech_and_survives_unplugging(
    virtual_microphone: VirtualMicrophone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, np.concatenate([silence(0.5), speech_like(1.5), silence(1)]), SAMPLE_RATE_HZ)
    source = PersistentSource(Microphone())
    segmenter = Segmenter(VadSettings(), SegmenterSettings())
    received: list[Block] = []
    segments = []

    def listen() -> None:
        for block in source.blocks():
            received.append(block)
            segments.extend(segmenter.push(block.samples, block.lost_s, block.restarted))

    def wait_for(condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline_s
            time.sleep(0.05)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        wait_for(lambda: len(received) > 5)
        virtual_microphone.play(clip)
        wait_for(lambda: len(segments) == 1)
        virtual_microphone.unplug()
        time.sleep(0.5)
        virtual_microphone.plug()
        wait_for(lambda: any(note.reason == "connected" for block in received for note in block.notes))
        virtual_microphone.play(clip)
        wait_for(lambda: len(segments) == 2)
    finally:
        source.close()
        listener.join(20)
    assert not listener.is_alive()
    for segment in segments:
        assert segment.end_s - segment.start_s == pytest.approx(1.5, abs=0.3)
    lost_s = sum(block.lost_s for block in received if block.restarted)
    assert segments[1].dropped_s >= lost_s > 0.5


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"m\xfcller", r"m\xfcller"),
        ("m\udcfcller", r"m\xfcller"),
        ("m\udcc3\udcbcller", "m\xfcller"),
        ("a\nb", r"a\nb"),
    ],
)
def test_a_name_that_is_not_utf_8_can_be_shown_and_typed(
    name: str | bytes, shown: str, portaudio: type[FakePortAudio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portaudio, "plugged", ((name, 16_000, 1),))
    (device,) = list_devices()
    assert device.name == shown
    assert shown.encode()
    assert choose_device([device], shown) == device
    assert choose_device([device], name if isinstance(name, str) else "ller") == device


def test_nothing_of_portaudio_is_on_standard_error(
    portaudio: type[FakePortAudio], capfd: pytest.CaptureFixture[str]
) -> None:
    list_devices()
    mic = Microphone()
    blocks = mic.blocks()
    threading.Timer(0.1, mic.close).start()
    assert list(blocks) == []
    with pytest.raises(AudioDeviceError):
        next(Microphone("nothing like it").blocks())
    assert capfd.readouterr().err == ""
