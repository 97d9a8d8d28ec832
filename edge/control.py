"""The Unix socket of a running ``affectd run``, through which ``affectd profile --attach`` learns its timing.

One JSON line of greeting, then one per utterance. Nothing is read, and nothing personal is sent: see ``edge.timing``.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edge.errors import UsageError
from edge.folders import runtime_folders
from edge.timing import Timing

PROTOCOL = 3
MOST_CLIENTS = 8
BUFFER_BYTES = 65_536
"""What may wait for a client, some hundred utterances; one that has not read them is dropped."""
CONNECT_S = 2.0

_timing = TypeAdapter(Timing)


class TimingServer:
    """Sends the timing of each utterance to whoever attaches. The constructor is cheap; ``open`` may fail."""

    def __init__(self, greeting: Callable[[], Mapping[str, Any]]) -> None:
        """Prepare; ``greeting`` gives what a client is sent when it attaches."""
        self._greeting = greeting
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path: Path | None = None
        self._clients: list[socket.socket] = []
        self._lock = threading.Lock()

    def open(self) -> None:
        """Listen; raises OSError when there is no place for a socket."""
        path = _private(runtime_folders()[0]) / f"{os.getpid()}.sock"
        _remove_stale(path.parent)
        # Under its name only when it listens, or another process that starts now would take it for stale.
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        self._listener.bind(os.fspath(new))
        new.chmod(0o600)
        self._listener.listen()
        self._path = new.rename(path)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    @property
    def watched(self) -> bool:
        """Somebody is attached."""
        return bool(self._clients)

    def send(self, timing: Timing) -> None:
        """Send to all who are attached, without ever waiting for them."""
        if not self.watched:
            return
        line = _line(vars(timing))
        with self._lock:
            self._clients = [client for client in self._clients if _sent(client, line)]

    def close(self) -> None:
        """Remove the socket; clients see the end of the stream."""
        path, self._path = self._path, None
        if path:
            path.unlink(missing_ok=True)
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for client in self._clients:
                client.close()
            self._clients = []

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            with self._lock:
                self._clients = [known for known in self._clients if _there(known)]
                if len(self._clients) == MOST_CLIENTS:
                    client.close()
                    continue
                # Known before it is greeted, so that whoever has read the greeting misses nothing.
                self._clients.append(client)
                if not _sent(client, _line({"protocol": PROTOCOL, **self._greeting()})):
                    self._clients.remove(client)


class Attachment:
    """A connection to a running ``affectd run``."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._connection = connection
        self._data = b""
        self.greeting = self._greeting()

    def timings(self, duration_s: float | None) -> Iterator[Timing]:
        """Yield the timing of each utterance until ``duration_s`` have passed or the other process ends.

        Raises:
            UsageError: what is sent is not from an ``affectd run`` of this version.
        """
        until_s = None if duration_s is None else time.monotonic() + duration_s
        while (line := self._read_line(until_s)) is not None:
            try:
                yield _timing.validate_json(line)
            except ValidationError:
                raise UsageError(f"process {self.pid} is no affectd run of this version") from None

    def close(self) -> None:
        """Detach."""
        self._connection.close()

    def _greeting(self) -> dict[str, Any]:
        line = self._read_line(time.monotonic() + CONNECT_S)
        try:
            greeting = json.loads(line or "null")
        except ValueError:
            greeting = None
        if not isinstance(greeting, dict) or greeting.pop("protocol", None) != PROTOCOL:
            raise UsageError(f"process {self.pid} does not answer as an affectd run of this version does")
        return greeting

    def _read_line(self, until_s: float | None) -> bytes | None:
        """Return the next line, None when the time is up or the stream has ended."""
        while b"\n" not in self._data:
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return None
            self._connection.settimeout(left_s)
            try:
                read = self._connection.recv(BUFFER_BYTES)
            except (TimeoutError, ConnectionResetError):
                return None
            if not read:
                return None
            self._data += read
        line, self._data = self._data.split(b"\n", 1)
        return line


def attach(pid: int | None = None) -> Attachment:
    """Attach to the running ``affectd run`` with this process id, or to the only one.

    Raises:
        UsageError: there is none, or there are several.
    """
    sockets = {int(path.stem): path for folder in runtime_folders() for path in _sockets(folder)}
    if not sockets:
        raise UsageError("no affectd run of yours is running here; start one, then attach to it")
    running = ", ".join(map(str, sorted(sockets)))
    if pid is None and len(sockets) > 1:
        raise UsageError(f"several affectd run are running: name one of {running}, as in --attach {min(sockets)}")
    if pid is not None and pid not in sockets:
        raise UsageError(f"process {pid} is no running affectd run; running: {running}")
    pid = next(iter(sockets)) if pid is None else pid
    try:
        connection = _connect(sockets[pid])
    except OSError as error:
        raise UsageError(f"the affectd run with process id {pid} does not answer: {error}") from None
    if connection is None:
        raise UsageError(f"the affectd run with process id {pid} is gone, and nothing was measured")
    return Attachment(pid, connection)


def _private(folder: Path) -> Path:
    """Make a folder that only its owner can enter; raises OSError if someone else has made it, or can enter it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(folder):
        raise PermissionError(f"{folder} is not a folder of yours alone")
    return folder


def _is_private(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def _sockets(folder: Path) -> list[Path]:
    """Return the sockets in a folder that somebody answers at."""
    if not _is_private(folder):
        return []
    _remove_stale(folder)
    return [path for path in folder.glob("*.sock") if path.stem.isdecimal()]


def _remove_stale(folder: Path) -> None:
    """Remove sockets whose process has died; a process id alone would not do, since they are used again."""
    for path in folder.glob("*.sock"):
        try:
            connection = _connect(path)
        except OSError:  # there, and busy
            continue
        if connection is None:
            path.unlink(missing_ok=True)
        else:
            connection.close()


def _connect(path: Path) -> socket.socket | None:
    """Return a connection, None if nobody listens; raises OSError if that is uncertain."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_S)
    try:
        connection.connect(os.fspath(path))
    except (ConnectionRefusedError, FileNotFoundError):
        connection.close()
        return None
    return connection


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _sent(client: socket.socket, line: bytes) -> bool:
    """Send without waiting; a client that does not take all of it is dropped."""
    try:
        if client.send(line) == len(line):
            return True
    except OSError:
        pass
    client.close()
    return False


def _there(client: socket.socket) -> bool:
    """Return whether a client is still connected; clients send nothing."""
    try:
        if client.recv(1):
            return True
    except BlockingIOError:
        return True
    except OSError:
        pass
    client.close()
    return False
