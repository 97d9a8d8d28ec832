"""What is fed with malformed inputs, and what it may do: work, or end them with a clear error."""

from __future__ import annotations

import os
import random
import shutil
import socket
from contextlib import closing, suppress
from pathlib import Path

from edge.bundle import Bundle
from edge.daemon.client import attach
from edge.daemon.control import ControlServer
from edge.errors import ModelError, UsageError
from edge.settings import load_settings
from fuzz import inputs
from fuzz.mqtt import fuzz_mqtt
from fuzz.sources import HANGS_S, Counts, fuzz_source
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


TARGETS = {
    "settings file": fuzz_config,
    "bundle": fuzz_bundle,
    "control socket": fuzz_control,
    "MQTT commands": fuzz_mqtt,
    "Unix socket source": lambda count, folder: fuzz_source("unix", count, folder),
    "TCP source": lambda count, folder: fuzz_source("tcp", count, folder),
    "WebSocket source": lambda count, folder: fuzz_source("ws", count, folder),
    "Wyoming source": lambda count, folder: fuzz_source("wyoming", count, folder),
    "Wyoming source, by its speech-to-text": lambda count, folder: fuzz_source("behind", count, folder),
    "web server": fuzz_web,
    "WebSocket of the web server": fuzz_web_socket,
}
