"""Clients that send over TCP or a Unix socket: raw PCM, or what its header says."""

from __future__ import annotations

import io
import logging
import os
import socket
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

from edge.capture.address import Address
from edge.capture.clients import ClientSource
from edge.decoding import AudioReader, open_stream
from edge.errors import AudioDeviceError, AudioFileError

POLL_S = 0.25
"""Longest wait before it is looked whether to stop."""
HTTP_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"PATCH ", b"DELETE ", b"CONNECT ", b"TRACE ")
LONGEST_METHOD = max(map(len, HTTP_METHODS))
KEEPALIVE_S = 15
"""Without a packet a TCP connection is probed, and given up after three more such times."""

logger = logging.getLogger(__name__)


class SocketClient(io.RawIOBase):
    """A connection, as a stream of bytes; see ``capture.clients.Client``."""

    def __init__(self, connection: socket.socket, who: str) -> None:
        super().__init__()
        self.keeps_until_s = 0.0
        self._connection, self._who = connection, who
        self._held = b""
        """What has come, and was only looked at."""
        connection.settimeout(POLL_S)

    def open(self, name: str, rate_hz: int) -> AudioReader:
        """Begin to decode what comes; raises AudioFileError for HTTP, which any web page can let a browser send."""
        while len(self._held) < LONGEST_METHOD and (data := self._receive(io.DEFAULT_BUFFER_SIZE)):
            self._held += data
        if self._held.startswith(HTTP_METHODS):
            raise AudioFileError(f"{name}: this is HTTP, and no audio")
        return open_stream(self, name, rate_hz)

    def read(self, size: int = -1, /) -> bytes:
        """Wait for some bytes and return them; none at the end."""
        size = size if size >= 0 else io.DEFAULT_BUFFER_SIZE
        if not self._held:
            return self._receive(size)
        data, self._held = self._held[:size], self._held[size:]
        return data

    def _receive(self, size: int) -> bytes:
        while not self.closed:
            try:
                return self._connection.recv(size)
            except TimeoutError:
                continue
            except OSError:  # reset, or closed meanwhile
                break
        return b""

    def close(self, why: str = "") -> None:
        """Close the connection; there is no way to say why."""
        super().close()
        self._connection.close()

    def __str__(self) -> str:
        return self._who


class SocketSource(ClientSource):
    """Waits at a TCP port or a Unix socket. The constructor is cheap and cannot fail."""

    def __init__(self, address: Address, rate_hz: int, queue_s: float) -> None:
        super().__init__(str(address), rate_hz, queue_s)
        self._address = address
        self._listener: socket.socket | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of the Unix socket: one of that name may be a successor's by the time that it is removed."""

    def _listen(self) -> None:
        try:
            listener = _bound(self._address)
        except OSError as error:
            raise AudioDeviceError(f"cannot listen at {self.name}: {error.strerror or error}") from None
        if not self._address.is_local:
            logger.warning("whoever reaches %s may speak: prefer ws:// with a token", self.name)
        listener.settimeout(POLL_S)
        self._listener = listener
        self._file = _file_at(self._address.path)
        threading.Thread(target=self._accept, args=(listener,), name=f"clients of {self.name}", daemon=True).start()

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # or the place is taken until accept returns
            listener.close()
            if self._file and self._file == _file_at(self._address.path):
                Path(self._address.path).unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        while listener is self._listener:
            try:
                connection, peer = listener.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if listener is self._listener:  # out of descriptors, say: better later than never
                    logger.warning("%s: %s", self.name, error)
                    time.sleep(POLL_S)
                continue
            who = f"{peer[0]}:{peer[1]}" if self._address.scheme == "tcp" else "a process"
            if self._address.scheme == "tcp":
                _keep_alive(connection)
            client = SocketClient(connection, who)
            if why := self.offer(client):
                logger.warning("%s: %s is refused: %s", self.name, who, why)
                client.close()


def _file_at(path: str) -> tuple[int, int] | None:
    """Return the device and inode at a path; None where there is nothing."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _bound(address: Address) -> socket.socket:
    """Return a socket that listens at an address; raises OSError."""
    if address.scheme == "unix":
        return _bound_unix(address.path)
    family, kind, protocol, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(4)
    except OSError:
        listener.close()
        raise
    return listener


def _bound_unix(path: str) -> socket.socket:
    """Return a socket that only the user reaches; one that a process left behind when it died is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.lexists(path):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise FileExistsError(0, "there is a file that is no socket")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(path) == 0:
                    raise OSError(0, "another process listens there")
            os.unlink(path)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(4)
    except OSError:
        listener.close()
        raise
    return listener


def _keep_alive(connection: socket.socket) -> None:
    """Let the system notice a peer that is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), KEEPALIVE_S)
    if hasattr(socket, "TCP_KEEPCNT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
