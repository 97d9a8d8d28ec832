"""A device that goes away, sleeps and is paused, on a clock of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge.capture import Block, PersistentSource, persistent
from edge.errors import AudioDeviceError

SAMPLES = np.full(480, 0.1, np.float32)


class Device:
    """Delivers what each opening is to deliver: a number of blocks, and then an outage unless it is the last."""

    name = "device"
    can_wait = False

    def __init__(self, *openings: int, on_block: Callable[[int], None] = lambda number: None) -> None:
        self.openings, self.on_block = list(openings), on_block
        self.opened = self.closed = self.delivered = 0

    def blocks(self) -> Iterator[Block]:
        self.opened += 1
        count = self.openings.pop(0)
        if count < 0:
            raise AudioDeviceError("no such device")
        try:
            for _ in range(count):
                self.delivered += 1
                yield Block(SAMPLES, time.monotonic())
                self.on_block(self.delivered)
            if self.openings:
                raise AudioDeviceError("delivers no audio")
        finally:
            self.closed += 1

    def close(self) -> None:
        self.openings = [0]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistent, "FIRST_RETRY_S", 0.01)


def reasons(blocks: list[Block]) -> list[str]:
    return [note.reason for block in blocks for note in block.notes]


def test_an_outage_is_said_once_however_often_it_is_tried_again() -> None:
    device = Device(3, -1, -1, -1, 2)
    blocks = list(PersistentSource(device).blocks())
    assert reasons(blocks) == ["disconnected", "connected"]
    assert [len(block.samples) > 0 for block in blocks] == [True, True, True, False, True, True]
    back = blocks[4]
    assert back.restarted
    assert back.lost_s == pytest.approx(back.captured_at_s - blocks[2].captured_at_s - 0.03, abs=1e-6)
    assert back.paused_s == 0
    assert (device.opened, device.closed) == (5, 2)


def test_a_device_that_is_not_there_at_first() -> None:
    with pytest.raises(AudioDeviceError, match="no such device"):
        next(PersistentSource(Device(-1, 1)).blocks())
    blocks = list(PersistentSource(Device(-1, -1, 1), patient=True).blocks())
    assert reasons(blocks) == ["disconnected", "connected"]
    assert [block.lost_s for block in blocks] == [0.0, 0.0], "nothing was there to lose"


def test_a_pause_closes_the_device_and_is_not_counted_as_lost() -> None:
    source: PersistentSource
    paused = threading.Event()

    def pause(number: int) -> None:
        if number == 2:
            source.pause()
            paused.set()

    device = Device(5, 3, on_block=pause)
    source = PersistentSource(device)
    blocks: list[Block] = []
    thread = threading.Thread(target=lambda: blocks.extend(source.blocks()))
    thread.start()
    assert paused.wait(10)
    while len(blocks) < 3 and thread.is_alive() and device.closed == 0:
        time.sleep(0.01)
    time.sleep(0.1)
    assert device.opened == device.closed == 1, "the device is closed"
    source.go_on()
    thread.join(10)
    assert not thread.is_alive()
    assert [len(block.samples) > 0 for block in blocks[:4]] == [True, True, False, True]
    back = blocks[3]
    assert back.restarted
    assert back.paused_s >= 0.1
    assert back.lost_s < back.paused_s, "what it took to close and to open"
    assert reasons(blocks) == []


def test_closing_ends_a_pause_and_an_outage() -> None:
    for device in (Device(1, 1), Device(1, -1, *[-1] * 100)):
        source = PersistentSource(device)
        blocks = source.blocks()
        next(blocks)
        source.pause() if len(device.openings) == 1 else None
        thread = threading.Thread(target=lambda blocks=blocks: list(blocks))
        thread.start()
        time.sleep(0.03)
        source.close()
        thread.join(10)
        assert not thread.is_alive()


def test_a_sleep_of_the_machine_opens_the_device_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    slept_s = 0.0
    monkeypatch.setattr(persistent, "sleep_s", lambda: slept_s)

    def sleep(number: int) -> None:
        nonlocal slept_s
        slept_s += 3_600 * (number == 2)

    device = Device(4, 2, on_block=sleep)
    blocks = list(PersistentSource(device).blocks())
    assert reasons(blocks) == ["suspended"]
    assert [len(block.samples) > 0 for block in blocks] == [True, True, True, False, True, True]
    assert (blocks[4].restarted, blocks[4].paused_s) == (True, 3_600)
    assert blocks[4].lost_s < 1
    assert device.opened == device.closed == 2


def test_the_system_tells_how_long_it_slept() -> None:
    assert persistent.sleep_s() >= -0.01
