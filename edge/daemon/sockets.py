"""Where the Unix sockets of the running ``affectd run`` of a user are: in a folder that nobody else can enter."""

from __future__ import annotations

import os
import socket
import stat
import time
from pathlib import Path

from edge.errors import UsageError
from edge.folders import runtime_folders

CONNECT_S = 2.0
BUSY_S = 0.01


def listen_at(pid: int) -> tuple[socket.socket, Path]:
    """Return a socket that listens for whoever wants something of this process, and its path; raises OSError."""
    path = _private(runtime_folders()[0]) / f"{pid}.sock"
    _remove_stale(path.parent)
    # Under its name only when it listens, or another process that starts now would take it for stale.
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.fspath(new))
    new.chmod(0o600)
    listener.listen()
    return listener, new.rename(path)


def connect(pid: int | None = None) -> tuple[int, socket.socket]:
    """Connect to the running ``affectd run`` with this process id, or to the only one; return its id, too.

    Raises:
        UsageError: there is none, or there are several.
    """
    sockets = {int(path.stem): path for folder in runtime_folders() for path in _sockets(folder)}
    if not sockets:
        raise UsageError("no affectd run of yours is running here; start one, then attach to it")
    running = ", ".join(map(str, sorted(sockets)))
    if pid is None and len(sockets) > 1:
        raise UsageError(f"several affectd run are running: name one of {running}, as in --pid {min(sockets)}")
    if pid is not None and pid not in sockets:
        raise UsageError(f"process {pid} is no running affectd run; running: {running}")
    pid = next(iter(sockets)) if pid is None else pid
    try:
        connection = _connect(sockets[pid])
    except OSError as error:
        raise UsageError(f"the affectd run with process id {pid} does not answer: {error}") from None
    if connection is None:
        raise UsageError(f"the affectd run with process id {pid} is gone")
    return pid, connection


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
    until_s = time.monotonic() + CONNECT_S
    while True:
        try:
            connection.connect(os.fspath(path))
            return connection
        except (ConnectionRefusedError, FileNotFoundError):
            connection.close()
            return None
        except BlockingIOError:  # many connect at once
            if time.monotonic() > until_s:
                raise
            time.sleep(BUSY_S)
