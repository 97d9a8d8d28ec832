"""The protocol of sd_notify(3), on the datagram socket of a service manager that the test is."""

import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge.daemon.notify import Notifier

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Manager:
    """What systemd has: a socket at a path, or at an abstract name that begins with ``@``."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.target = address.replace("@", "\0", 1) if address.startswith("@") else address
        self.socket.bind(self.target)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Return the datagrams since the last call."""
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self.socket.recv(4096).decode())
        return found


class Clock:
    """Seconds that pass when the test says so."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@affectd-{secrets.token_hex(8)}")
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    yield manager
    manager.socket.close()


@pytest.fixture
def watched(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> Manager:
    """One that wants to hear something every 30 s."""
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    return manager


def test_every_step_is_reported(manager: Manager) -> None:
    notifier = Notifier()
    before_us = time.monotonic_ns() // 1000
    notifier.say("waits for\na microphone ✓")
    notifier.ready("listens")
    notifier.reloading()
    notifier.ready("listens again")
    notifier.stopping()
    waits, ready, reloading, again, stopping = manager.heard()
    assert waits == "STATUS=waits for a microphone ✓"
    assert (ready, again) == ("READY=1\nSTATUS=listens", "READY=1\nSTATUS=listens again")
    assert stopping == "STOPPING=1"
    since = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", reloading)
    assert since
    assert before_us <= int(since[1]) <= time.monotonic_ns() // 1000


def test_the_watchdog_hears_a_heartbeat_in_each_half_of_its_time(watched: Manager) -> None:
    clock = Clock()
    notifier = Notifier(clock)
    notifier.ready("listens")
    watched.heard()
    heard_after_s = []
    for _ in range(200):
        notifier.heartbeat()
        if heard := watched.heard():
            assert heard == ["WATCHDOG=1"]
            heard_after_s.append(clock.now_s - 1000)
        clock.now_s += 0.25
    assert heard_after_s == [0, 15, 30, 45]


def test_a_start_takes_as_long_as_it_takes_while_it_is_alive(manager: Manager) -> None:
    clock = Clock()
    notifier = Notifier(clock)
    for _ in range(3):
        notifier.heartbeat()
        assert manager.heard() == ["EXTEND_TIMEOUT_USEC=60000000"]
        notifier.heartbeat()
        assert manager.heard() == []
        clock.now_s += 15
    notifier.ready("listens")
    manager.heard()
    clock.now_s += 60
    notifier.heartbeat()
    assert manager.heard() == []


def test_an_end_before_it_was_ready_is_not_prolonged(watched: Manager) -> None:
    notifier = Notifier(clock := Clock())
    notifier.heartbeat()
    assert watched.heard() == ["WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000"]
    notifier.stopping()
    clock.now_s += 60
    notifier.heartbeat()
    assert watched.heard() == ["STOPPING=1", "WATCHDOG=1"]


@pytest.mark.parametrize(("pid", "is_ours"), [(None, True), ("1", False), ("x", False)])
def test_the_watchdog_of_another_process_is_left_alone(
    watched: Manager, monkeypatch: pytest.MonkeyPatch, pid: str | None, is_ours: bool
) -> None:
    monkeypatch.setenv("WATCHDOG_PID", pid or str(os.getpid()))
    notifier = Notifier()
    notifier.ready("listens")
    notifier.heartbeat()
    assert watched.heard() == ["READY=1\nSTATUS=listens", *(["WATCHDOG=1"] if is_ours else [])]


def test_what_finds_no_room_is_sent_later_and_in_order(watched: Manager) -> None:
    flood = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    flood.setblocking(False)
    sent = 0
    with flood, suppress(BlockingIOError):
        while True:
            flood.sendto(b"flood", watched.target)
            sent += 1
    notifier = Notifier(clock := Clock())
    notifier.say("loads the model")
    notifier.ready("listens")
    notifier.heartbeat()
    assert watched.heard() == ["flood"] * sent
    notifier.heartbeat()
    assert watched.heard() == ["STATUS=loads the model", "READY=1\nSTATUS=listens", "WATCHDOG=1"]
    clock.now_s += 1
    notifier.heartbeat()
    assert watched.heard() == []


def test_a_manager_that_is_gone_is_not_missed(manager: Manager, tmp_path: Path) -> None:
    notifier = Notifier()
    manager.socket.close()
    for _ in range(100):
        notifier.say("listens")
        notifier.heartbeat()
    (tmp_path / "notify").unlink(missing_ok=True)
    back = Manager(manager.address)
    notifier.ready("listens")
    heard = back.heard()
    for _ in range(100):
        notifier.heartbeat()
        heard += back.heard()
    back.socket.close()
    assert heard == ["STATUS=listens"] * 63 + ["READY=1\nSTATUS=listens"]


@pytest.mark.parametrize("watchdog_us", ["", "soon", "-1", "0"])
def test_without_a_watchdog_there_is_no_heartbeat(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, watchdog_us: str
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", watchdog_us)
    notifier = Notifier()
    notifier.ready("listens")
    manager.heard()
    notifier.heartbeat()
    assert manager.heard() == []


@pytest.mark.parametrize("address", [None, "", "/nonexistent/notify", "vsock:2:1234", "/" + "x" * 200, "@"])
def test_without_a_manager_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "2")
    notifier = Notifier()
    notifier.say("listens")
    notifier.ready("listens")
    notifier.heartbeat()
    notifier.reloading()
    notifier.stopping()
    assert not set(VARIABLES) & set(os.environ)


def test_children_do_not_speak_for_it(watched: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    Notifier()
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(*os.environ)"], capture_output=True, text=True, check=True
    )
    assert not set(VARIABLES) & set(child.stdout.split())
