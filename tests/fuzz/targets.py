"""What is fed with malformed inputs, and what it may do: work, or end them with a clear error."""

from __future__ import annotations

import os
import random
import shutil
import socket
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import connect

from edge.bundle import Bundle
from edge.capture import Source, open_source
from edge.daemon.client import attach
from edge.daemon.control import ControlServer
from edge.errors import AffectdError, ModelError, UsageError
from edge.settings import CaptureSettings, load_settings
from fuzz import inputs
from fuzz.counts import HANGS_S, Counts
from fuzz.web import fuzz_web, fuzz_web_socket

ROOT = Path(__file__).resolve().parents[2]


def fuzz_config(count: int, folder: Path) -> Counts:
    """Damage the documented settings file."""
    chance, counts = random.Random(1), Counts()
    good = (ROOT / "configs" / "default.toml").read_bytes()
    path = folder / "config.toml"
    for _ in range(count):
        path.write_bytes(inputs.damaged(good, chance))
        try:
            load_settings(path, environment={})
            counts["worked"] += 1
        except UsageError:
            counts["clear error"] += 1
        except Exception as error:
            counts[f"crashed: {error!r}"[:200]] += 1
    return counts


def fuzz_bundle(count: int, folder: Path) -> Counts:
    """Damage one file of the small bundle at a time."""
    chance, counts = random.Random(2), Counts()
    bundle = folder / "nano"
    shutil.copytree(ROOT / "edge" / "bundles" / "nano", bundle)
    files = {path: path.read_bytes() for path in sorted(bundle.iterdir()) if path.suffix != ".md"}
    for _ in range(count):
        path = chance.choice(list(files))
        path.write_bytes(inputs.damaged(files[path], chance))
        try:
            Bundle.load(bundle)
            counts["worked"] += 1
        except ModelError:
            counts["clear error"] += 1
        except Exception as error:
            counts[f"crashed: {error!r}"[:200]] += 1
        path.write_bytes(files[path])
    return counts


def fuzz_control(count: int, folder: Path) -> Counts:
    """Ask a control socket for nonsense, and then for something."""
    chance, counts = random.Random(3), Counts()
    server = ControlServer({"facts": lambda _: {}, "status": lambda _: {}, "pause": lambda _: {}})
    server.open()
    try:
        for _ in range(count):
            counts[_asked(inputs.request(chance))] += 1
        counts["hung" if _asked(b'{"do": "status"}\n') != "worked" else "worked"] += 1
    finally:
        server.close()
    return counts


def _asked(request: bytes) -> str:
    try:
        with closing(attach(os.getpid())) as client:
            connection = client._connection
            connection.settimeout(HANGS_S)
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            try:
                answer = connection.recv(65_536)
            except ConnectionResetError:
                answer = b""
    except (UsageError, TimeoutError):
        return "hung"
    return "closed" if not answer else "clear error" if b'"error"' in answer else "worked"


def fuzz_source(kind: str, count: int, folder: Path) -> Counts:
    """Send nonsense to a source, while somebody speaks to another one beside it."""
    chance, counts = random.Random(kind), Counts()
    address = {
        "tcp": f"tcp://127.0.0.1:{_port()}",
        "unix": f"unix:{folder}/hall",
        "ws": f"ws://127.0.0.1:{_port()}/hall",
    }[kind]
    other = f"tcp://127.0.0.1:{_port()}"
    source, calm = _Heard(address), _Heard(other)
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

    def __init__(self, address: str) -> None:
        self.source: Source = open_source(CaptureSettings(source=address))
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


def _sent(kind: str, address: str, chance: random.Random) -> str:
    data = inputs.stream(chance)
    try:
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
        connection.sendall(data)
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


TARGETS = {
    "settings file": fuzz_config,
    "bundle": fuzz_bundle,
    "control socket": fuzz_control,
    "Unix socket source": lambda count, folder: fuzz_source("unix", count, folder),
    "TCP source": lambda count, folder: fuzz_source("tcp", count, folder),
    "WebSocket source": lambda count, folder: fuzz_source("ws", count, folder),
    "web server": fuzz_web,
    "WebSocket of the web server": fuzz_web_socket,
}
