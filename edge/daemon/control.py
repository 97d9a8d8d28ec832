"""The Unix socket of a running ``affectd run``: requests and answers, one JSON line each.

``{"do": "status"}`` is answered by ``{"answer": …}``, or ``{"error": "…"}`` with what was wrong. After
``{"do": "timing"}`` comes a line for each utterance: durations only, see ``edge.timing``. After ``{"do": "events"}``
comes each event, and ``{"do": "events", "after": 17}`` begins with those after the event of that number.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.actions import Actions
from edge.daemon.sockets import listen_at
from edge.errors import AffectdError, nearest
from edge.recent import RecentEvents
from edge.timing import Timing

PROTOCOL = 4
MOST_CLIENTS = 32
BUFFER_BYTES = 65_536
"""What may wait for a client, some hundred utterances; one that has not read them is dropped. No request is longer."""
REQUEST_S = 5.0
"""A client that asks for nothing, or takes nothing, in this time is dropped."""
LOOK_S = 1.0
"""From one look whether a client that follows events has left to the next."""

logger = logging.getLogger(__name__)


class ControlServer:
    """Answers whoever asks on the socket of this process. The constructor is cheap; ``open`` may fail."""

    def __init__(self, actions: Actions, recent: RecentEvents | None = None) -> None:
        """Prepare.

        Args:
            actions: by what is to ``do``; ``timing`` is one more, which is answered as ``facts``.
            recent: what ``events`` follows, which is yet another.
        """
        self._actions = {**actions}
        self._recent = recent or RecentEvents()
        self._listener: socket.socket | None = None
        self._path: Path | None = None
        self._asking: set[socket.socket] = set()
        self._watching: list[socket.socket] = []
        self._lock = threading.Lock()

    def open(self) -> None:
        """Listen; raises OSError when there is no place for a socket."""
        self._listener, self._path = listen_at(os.getpid())
        threading.Thread(target=self._accept, args=(self._listener,), name="control", daemon=True).start()

    @property
    def watched(self) -> bool:
        """Somebody wants the timing of utterances."""
        return bool(self._watching)

    def send(self, timing: Timing) -> None:
        """Send to all who watch, without ever waiting for them."""
        if not self.watched:
            return
        line = _line(vars(timing))
        with self._lock:
            self._watching = [client for client in self._watching if _sent(client, line)]

    def close(self) -> None:
        """Remove the socket; clients see the end of the stream. May be called more than once."""
        path, listener, self._path, self._listener = self._path, self._listener, None, None
        if path and listener:
            path.unlink(missing_ok=True)
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            for client in (*self._watching, *self._asking):
                client.close()
            self._watching = []

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed
                return
            with self._lock:
                gone = [known for known in self._watching if _has_left(known)]
                for known in gone:
                    self._watching.remove(known)
                    known.close()
                # Who asks and has left is let go of by its own thread, in a moment.
                if len(self._watching) + sum(not _has_left(known) for known in self._asking) >= MOST_CLIENTS:
                    client.close()
                    continue
                self._asking.add(client)
            threading.Thread(target=self._serve, args=(client,), name="control client", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """Answer a client's requests until it leaves, or wants to watch."""
        watches = False
        try:
            client.settimeout(REQUEST_S)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            with client.makefile("rb") as lines:
                while not watches and (line := lines.readline(BUFFER_BYTES)):
                    request = _request_in(line)
                    if request.get("do") == "events":
                        self._follow(client, request)
                        break
                    answer, watches = self._answer(request)
                    with self._lock:
                        if watches:
                            # Known before it is answered, so that whoever has read the answer misses nothing.
                            self._asking.discard(client)
                            self._watching.append(client)
                        client.sendall(_line(answer))
                        if watches:
                            client.setblocking(False)
        except (OSError, ValueError):  # gone, silent, or closed meanwhile
            pass
        with self._lock:
            self._asking.discard(client)
        if not watches:
            client.close()

    def _follow(self, client: socket.socket, request: Mapping[str, Any]) -> None:
        """Send events as they come until the client leaves, or does not read; nobody waits for it."""
        number = request.get("after", self._recent.last)
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            client.sendall(_line({"error": f"after is the number of an event, or 0, not {number!r}"}))
            return
        _, missed = self._recent.after(number)
        client.sendall(_line({"protocol": PROTOCOL, "answer": {"missed": missed}}))
        while not _has_left(client):
            events, _ = self._recent.after(number, LOOK_S)
            for number, line in events:  # noqa: B007  (the last one is where it goes on)
                client.sendall(line.encode() + b"\n")

    def _answer(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Return the answer to a request, and whether its client wants to watch."""
        wanted = request.get("do")
        if not isinstance(wanted, str):
            return {"error": 'a request is one line of JSON, such as {"do": "status"}'}, False
        watches = wanted == "timing"
        action = self._actions.get("facts" if watches else wanted)
        if action is None:
            known = [*self._actions, "timing", "events"]
            return {"error": f"cannot do {wanted!r}{nearest(wanted, known)}; it can do {', '.join(known)}"}, False
        try:
            return {"protocol": PROTOCOL, "answer": action(request)}, watches
        except AffectdError as error:
            return {"error": str(error), "code": int(error.exit_code)}, False
        except Exception:
            logger.exception("%s failed", wanted)
            return {"error": f"{wanted} failed; the log of affectd run says why"}, False


def _request_in(line: bytes) -> Mapping[str, Any]:
    """Return the request of a line; an empty one where there is none in it."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


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


def _has_left(client: socket.socket) -> bool:
    """Return whether nobody is at the other end any more; nothing is read."""
    poll = select.poll()
    poll.register(client, 0)  # what is always reported: hung up, or closed here
    return bool(poll.poll(0))
