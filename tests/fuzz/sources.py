"""Sources that are fed with malformed inputs over the network, while somebody speaks to another one beside them."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import connect

from edge.capture import Source, open_source
from edge.errors import AffectdError
from edge.settings import CaptureSettings
from fuzz import inputs

HANGS_S = 10.0
AUDIO = inputs.message("audio-chunk", inputs.AUDIO, bytes(9_600))
TURN = inputs.message("audio-start", inputs.AUDIO) + AUDIO + inputs.message("audio-stop")
Counts = Counter[str]
"""Outcome to number. ``crashed`` and ``hung`` must not be among them."""


def fuzz_source(kind: str, count: int, folder: Path) -> Counts:
    """Send nonsense to a source, while somebody speaks to another one beside it."""
    chance, counts = random.Random(kind), Counts()
    address = {
        "tcp": f"tcp://127.0.0.1:{_port()}",
        "unix": f"unix:{folder}/hall",
        "ws": f"ws://127.0.0.1:{_port()}/hall",
        "wyoming": f"wyoming://127.0.0.1:{_port()}",
        "behind": f"wyoming://127.0.0.1:{_port()}",
    }[kind]
    other = f"tcp://127.0.0.1:{_port()}"
    source, calm = _Heard(address, _nonsense(chance) if kind == "behind" else ""), _Heard(other)
    talk = threading.Event()
    speaker = threading.Thread(target=_speak, args=(other, talk), daemon=True)
    speaker.start()
    for _ in range(count):
        counts[_sent(kind, address, chance)] += 1
    talk.set()
    speaker.join()
    time.sleep(1)
    before = source.samples
    deadline_s = time.monotonic() + HANGS_S
    while source.samples == before and time.monotonic() < deadline_s:
        with suppress(OSError, WebSocketException):
            _good(kind, address)
        time.sleep(0.2)
    if source.samples == before or source.failure:
        counts[f"crashed: {source.failure!r}"] += 1
    if calm.failure or calm.lost_s or calm.gaps > 1:
        counts["the other source was disturbed"] += 1
    for heard in (source, calm):
        heard.source.close()
    return counts


class _Heard:
    """A source that is listened to."""

    def __init__(self, address: str, upstream: str = "") -> None:
        self.source: Source = open_source(CaptureSettings(source=address, upstream=upstream))
        self.samples, self.lost_s, self.gaps = 0, 0.0, 0
        self.failure: BaseException | None = None
        self._began = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        self._began.wait(HANGS_S)

    def _listen(self) -> None:
        try:
            for block in self.source.blocks():
                self._began.set()
                self.samples += len(block.samples)
                self.lost_s += block.lost_s
                self.gaps += bool(block.paused_s)
        except AffectdError as error:
            self.failure = error
        except Exception as error:
            self.failure = error


def _speak(address: str, until: threading.Event) -> None:
    """Send in real time, as a microphone does."""
    host, port = address.removeprefix("tcp://").split(":")
    block = (np.sin(np.arange(480)) * 3_000).astype("<i2").tobytes()
    with socket.create_connection((host, int(port))) as connection:
        due_s = time.monotonic()
        while not until.is_set():
            connection.sendall(block)
            due_s += 0.03
            time.sleep(max(0.0, due_s - time.monotonic()))


def _nonsense(chance: random.Random) -> str:
    """Answer, in the place of a speech-to-text, with nonsense; return where."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                heard = b""
                while b"audio-stop" not in heard and (data := connection.recv(20_000)):
                    heard += data
                connection.sendall(inputs.words(chance))

    threading.Thread(target=serve, daemon=True).start()
    return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def _assisted(address: str, data: bytes) -> str:
    """Send what a voice assistant may send, and return what became of it."""
    with _connected("wyoming", address) as connection:
        connection.settimeout(HANGS_S)
        answers = b""
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(1_000):
                answers += data
    return "clear error" if b'"type": "error"' in answers else "worked" if answers else "closed"


def _sent(kind: str, address: str, chance: random.Random) -> str:
    data = inputs.stream(chance)
    try:
        if kind in ("wyoming", "behind"):
            return _assisted(address, inputs.turn(chance) if kind == "wyoming" else TURN)
        if kind != "ws":
            with _connected(kind, address) as connection:
                return "answered" if _answer(connection, data) else "closed"
        if chance.randrange(3) == 0:
            with _connected(kind, address) as connection:
                return "clear error" if _answer(connection, data + b"\r\n\r\n") else "closed"
        with connect(address.removesuffix("/hall") + inputs.query(chance), open_timeout=HANGS_S) as client:
            client.send(data if chance.randrange(4) else data.decode("latin-1"))
    except InvalidHandshake:
        return "clear error"
    except TimeoutError:
        return "hung"
    except (OSError, WebSocketException):
        pass
    return "closed"


def _answer(connection: socket.socket, data: bytes) -> bytes:
    """Send and return what comes back; raises TimeoutError if it takes too long."""
    connection.settimeout(HANGS_S)
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(100)
    except (BrokenPipeError, ConnectionResetError):
        return b""


def _good(kind: str, address: str) -> None:
    data = bytes(9_600)
    if kind == "ws":
        with connect(address) as client:
            client.send(data)
            time.sleep(0.3)
        return
    with _connected(kind, address) as connection:
        connection.sendall(TURN if kind in ("wyoming", "behind") else data)
        time.sleep(0.3)


def _connected(kind: str, address: str) -> socket.socket:
    if kind == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address.removeprefix("unix:"))
        return connection
    host, port = address.split("/")[2].split(":")
    return socket.create_connection((host, int(port)), HANGS_S)


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
