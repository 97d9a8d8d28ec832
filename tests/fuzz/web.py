"""The web server fed with malformed requests and frames, while somebody else follows events beside it."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fuzz.inputs import damaged, noise
from fuzz.sources import HANGS_S, Counts
from helpers.web import Serving, ask, events, serving

QUIET_S = 0.05
"""Who has not answered by then waits for the rest of it, and is told that there is none."""
KEY = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADE = f"Upgrade: websocket\r\nConnection: Upgrade\r\n{KEY}"
BODY = json.dumps({"number": 1, "source": "hall"})
LINES = (
    *("GET /status", "GET /metrics", "GET /events?after=0", "GET /live", "GET /page/app.js", "GET /", "HEAD /health"),
    *("POST /do/double", "POST /do/status", "OPTIONS /do/double", "PUT /%00", "GET /../../etc/passwd", "BREW /pot"),
)


def fuzz_web(count: int, folder: Path) -> Counts:
    """Ask for nonsense, and then for something."""
    return _fuzz(count, request)


def fuzz_web_socket(count: int, folder: Path) -> Counts:
    """Follow events, and talk nonsense."""
    return _fuzz(count, websocket)


def request(chance: random.Random, host: str) -> bytes:
    """Return what a client may send in place of a request."""
    good = good_request(chance, host)
    kind = chance.randrange(5)
    if kind == 0:
        return noise(chance) + b"\r\n\r\n"
    if kind == 1:
        head, _, body = good.partition(b"\r\n\r\n")
        values = (b"", b"-1", b"1e9", b"chunked", b"close", b"x" * 9_000, b"gzip", b"\xff\0", b"bytes=9-1", b"*/*;q=x")
        names = (b"Content-Length", b"Transfer-Encoding", b"Content-Encoding", b"Host", b"Origin", b"Accept", b"Range")
        return head + b"\r\n" + chance.choice((*names, b"Expect")) + b": " + chance.choice(values) + b"\r\n\r\n" + body
    if kind == 2:
        values = (b"\xff", b"[" * 9_000, b'{"number": 1e999}', b'{"\\ud800": "\\ud800"}', b"null", b'"', bytes(70_000))
        body = chance.choice(values)
        start = f"POST /do/double HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n".encode()
        return start + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return damaged(good, chance) + b"\r\n\r\n" * (kind == 3)


def good_request(chance: random.Random, host: str) -> bytes:
    """Return what is answered, in one way or the other."""
    line = chance.choice(LINES)
    body = f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
    return f"{line} HTTP/1.1\r\nHost: {host}\r\n{body if line.startswith('POST') else chr(13) + chr(10)}".encode()


def websocket(chance: random.Random, host: str) -> bytes:
    """Return the request of a WebSocket and what a client may send in place of frames."""
    start = f"GET /events?after=0 HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}\r\n".encode()
    if chance.randrange(5) == 0:
        return damaged(start, chance) + b"\r\n\r\n"
    frames = b"".join(frame(chance) for _ in range(chance.randrange(1, 5)))
    return start + (noise(chance) if chance.randrange(4) == 0 else frames)


def frame(chance: random.Random) -> bytes:
    """Return a frame, RFC 6455, of which something may be wrong."""
    payload = chance.choice((b"", b"hello", b"\xff\xfe", bytes(200), b"{}" * 4_000, struct.pack("!H", 1_000)))
    first, mask = chance.randrange(256), 0x80 * (chance.randrange(4) > 0)
    length = chance.choice((len(payload), len(payload), 0, 125, 1 << 20, 1 << 62))
    if length < 126:
        head = bytes((first, mask | length))
    elif length < 1 << 16:
        head = bytes((first, mask | 126)) + struct.pack("!H", length)
    else:
        head = bytes((first, mask | 127)) + struct.pack("!Q", length)
    return damaged(head + b"\0\0\0\0" * bool(mask) + payload, chance) if chance.randrange(3) == 0 else head + payload


def _fuzz(count: int, make: object) -> Counts:
    counts = Counts()
    assert callable(make)
    chance = random.Random(make.__name__)
    with serving() as there:
        calm = _Calm(there)
        for number in range(1, count + 1):
            counts[_outcome(there.port, make(chance, f"localhost:{there.port}"))] += 1
            there.publish(*events(number, 1))
        counts[
            "worked" if ask(f"{there.url}/do/double", "POST", json={"number": 2}).json == {"answer": 4} else "hung"
        ] += 1
        if not calm.has_all(count):
            counts["somebody else was disturbed"] += 1
    return counts


class _Calm:
    """Somebody who follows events, and wants all of them."""

    def __init__(self, there: Serving) -> None:
        self._numbers: list[int] = []
        self._wanted, self._changed = 0, threading.Condition()
        threading.Thread(target=self._read, args=(there.port,), daemon=True).start()

    def has_all(self, count: int) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: len(self._numbers) >= count, HANGS_S)
        return self._numbers == list(range(1, count + 1))

    def _read(self, port: int) -> None:
        with suppress(ConnectionClosed), connect(f"ws://127.0.0.1:{port}/events?after=0") as connection:
            for text in connection:
                with self._changed:
                    self._numbers.append(json.loads(text).get("number", 0))
                    self._changed.notify_all()


def _outcome(port: int, data: bytes) -> str:
    with socket.create_connection(("127.0.0.1", port), HANGS_S) as connection:
        answer = b""
        try:
            connection.sendall(data)
            connection.settimeout(QUIET_S)
            with suppress(TimeoutError):
                answer = connection.recv(65_536)
                while answer.startswith(b"HTTP/1.1 101 "):
                    answer += _more(connection)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(HANGS_S)
            while more := connection.recv(65_536):
                answer += more
        except TimeoutError:
            return "hung"
        except OSError:
            pass  # closed before it has taken all of it
    return _kind(answer)


def _more(connection: socket.socket) -> bytes:
    more = connection.recv(65_536)
    if not more:
        raise TimeoutError
    return more


def _kind(answer: bytes) -> str:
    """Return what an answer means."""
    if not answer:
        return "closed"
    status = answer.split(b" ", 2)[1][:3]
    if status == b"101":
        return "clear error" if answer[-64:].rpartition(b"\x88")[1] else "closed"
    return "worked" if status[:1] == b"2" else "clear error" if status[:1] in b"34" else f"crashed: {status!r}"
