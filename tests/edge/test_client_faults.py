"""What clients do wrong, or the machine: none of it keeps others out, loses audio unsaid, or holds up an end."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.client import connect

from edge.capture import clients, websocket
from edge.capture.address import Address
from edge.capture.sockets import SocketSource
from helpers.listeners import PATIENCE_S, TALK, Heard, hear, pcm_of, send_to
from helpers.ports import free_port

__all__ = ["hear"]


def test_what_is_sent_faster_than_it_sounds_is_heard_to_the_end(
    hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pings of a client are answered meanwhile, however far ahead of its own audio it is."""
    address = f"ws://127.0.0.1:{free_port()}/hall"
    heard = hear(address)
    talk = np.tile(TALK, 3)
    with connect(address, ping_interval=0.2, ping_timeout=0.4, max_size=None) as client:
        for start in range(0, len(talk), 1_600):
            client.send(pcm_of(talk[start : start + 1_600]))
        heard.wait_for(lambda: len(heard.samples) >= len(talk) // 480 * 480)
        client.ping().wait(PATIENCE_S)
    heard.wait_for(lambda: heard.count("disconnected") == 2)
    assert len(heard.samples) == len(talk)
    assert sum(block.lost_s for block in heard.blocks) == 0


def test_a_client_further_ahead_than_the_backlog_waits_and_loses_nothing(
    hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "BACKLOG_BYTES", 4_000)
    address = f"ws://127.0.0.1:{free_port()}/hall"
    heard = hear(address)
    with connect(address) as client:
        for _ in range(3):
            client.send(pcm_of(TALK))
    heard.wait_for(lambda: heard.count("disconnected") == 2)
    assert len(heard.samples) == 3 * len(TALK)


STARVED = """
import os, resource, socket, sys, threading, time
from edge.capture import open_source
from edge.settings import CaptureSettings

source = open_source(CaptureSettings(source=sys.argv[1]))
blocks = source.blocks()
next(blocks)
limit = resource.getrlimit(resource.RLIMIT_NOFILE)
waiting = socket.socket()
resource.setrlimit(resource.RLIMIT_NOFILE, (60, limit[1]))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
waiting.connect(("127.0.0.1", int(sys.argv[2])))
time.sleep(0.5)
for descriptor in taken:
    os.close(descriptor)
waiting.close()
print("starved", flush=True)
heard = 0
for block in blocks:
    heard += len(block.samples)
    if heard > 1_000:
        print("heard", flush=True)
"""


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
def test_without_a_free_descriptor_clients_wait_and_are_heard_later(scheme: str) -> None:
    port = free_port()
    address = f"{scheme}://127.0.0.1:{port}" + ("/hall" if scheme == "ws" else "")
    with subprocess.Popen(
        [sys.executable, "-c", STARVED, address, str(port)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "starved\n"
        time.sleep(1.5)  # who was let in and said nothing has left by now
        if scheme == "tcp":
            with closing(send_to(address, pcm_of(TALK))):
                assert process.stdout.readline() == "heard\n"
        else:
            with connect(address) as client:
                client.send(pcm_of(TALK))
                assert process.stdout.readline() == "heard\n"
        process.kill()


def test_who_says_nothing_or_does_not_answer_holds_up_no_closing(hear: Callable[..., Heard]) -> None:
    port = free_port()
    heard = hear(f"ws://127.0.0.1:{port}/hall")
    with closing(socket.create_connection(("127.0.0.1", port))) as silent, closing(socket.socket()) as deaf:
        silent.sendall(b"GET /hall HTTP/1.1\r\n")
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(
            b"GET /hall HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        heard.wait_for(lambda: b"101" in deaf.recv(4_096))
        heard.end()  # waits for less than the 10 s after which a handshake or a close is commonly given up
    assert not [thread.name for thread in threading.enumerate() if "web server" in thread.name]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "HEAD", "CONNECT", "TRACE"])
def test_a_web_page_cannot_speak_to_a_socket(method: str, hear: Callable[..., Heard]) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    heard = hear(address)
    request = f"{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\n".encode()
    with closing(send_to(address, request[:3])) as client:
        client.sendall(request[3:] + pcm_of(TALK)[:9_999])
        heard.wait_for(lambda: heard.count("disconnected") == 2)
    assert "this is HTTP" in heard.reasons[-1][1]
    assert not len(heard.samples)


def test_a_byte_now_and_then_keeps_nobody_out(hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "STALE_S", 0.3)
    address = f"tcp://127.0.0.1:{free_port()}"
    heard = hear(address)
    with closing(send_to(address, pcm_of(TALK)[:2_000])) as dripping:
        heard.wait_for(lambda: heard.count("connected") == 1)
        for _ in range(10):
            dripping.sendall(b"xx")
            time.sleep(0.1)
        with closing(send_to(address, pcm_of(TALK))):
            heard.wait_for(lambda: heard.count("connected") == 2)


@pytest.mark.parametrize("form", ["tcp://127.0.0.1:{port}", "ws://127.0.0.1:{port}/hall", "unix:{folder}/hall"])
def test_in_a_pause_nobody_is_let_in_and_time_without_a_client_is_not_lost(
    form: str, hear: Callable[..., Heard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "QUIET_S", 0.1)
    port = free_port()
    address = form.format(port=port, folder=tmp_path)
    heard = hear(address)

    def is_open() -> bool:
        if form.startswith("unix"):
            return (tmp_path / "hall").exists()
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    time.sleep(0.5)
    heard.source.pause()
    heard.wait_for(lambda: not is_open())
    time.sleep(0.5)
    heard.source.go_on()
    heard.wait_for(is_open)
    time.sleep(0.5)
    heard.wait_for(lambda: heard.count("disconnected") >= 2)
    if form.startswith("ws"):
        with connect(address) as client:
            client.send(pcm_of(TALK))
    else:
        send_to(address, pcm_of(TALK)).close()
    heard.wait_for(lambda: len(heard.samples) == len(TALK))
    assert sum(block.lost_s for block in heard.blocks) == 0
    assert sum(block.paused_s for block in heard.blocks) >= 1.4, "the clock went on all the time"


def test_a_socket_that_closes_leaves_its_successors_alone(tmp_path: Path) -> None:
    first, second = (SocketSource(Address("unix", path=str(tmp_path / "hall")), 16_000, 1.0) for _ in range(2))
    first._listen()
    (tmp_path / "hall").unlink()
    second._listen()
    first._stop_listening()
    assert (tmp_path / "hall").exists()
    second._stop_listening()
    assert not (tmp_path / "hall").exists()
