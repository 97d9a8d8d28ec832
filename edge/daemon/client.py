"""The other end of the socket of a running ``affectd run``."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edge.daemon.control import BUFFER_BYTES, PROTOCOL
from edge.daemon.sockets import connect
from edge.errors import UsageError, error_of
from edge.timing import Timing

ANSWER_S = 10.0
"""For an answer: who is asked may be busy with a long utterance."""

_timing = TypeAdapter(Timing)


class Client:
    """A connection to a running ``affectd run``."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._connection = connection
        self._data = b""

    def ask(self, to: str, **fields: Any) -> Any:
        """Ask the other process to do something, and return its answer.

        Raises:
            AffectdError: it cannot do that, with the reason, of the kind that it has there.
            UsageError: it does not know that, or is not an ``affectd run`` of this version.
        """
        request = json.dumps({"do": to, **fields}).encode() + b"\n"
        try:
            self._connection.settimeout(ANSWER_S)
            self._connection.sendall(request)
            answer = json.loads(self._read_line(time.monotonic() + ANSWER_S) or "null")
        except (OSError, ValueError):
            answer = None
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):
            raise error_of(answer.get("code"), answer["error"])
        if not isinstance(answer, dict) or answer.get("protocol") != PROTOCOL:
            raise UsageError(f"process {self.pid} does not answer as an affectd run of this version does")
        return answer["answer"]

    def timings(self, duration_s: float | None) -> Iterator[Timing]:
        """Yield the timing of each utterance, once asked for, until ``duration_s`` or the other process's end.

        Raises:
            UsageError: what is sent is not from an ``affectd run`` of this version.
        """
        until_s = None if duration_s is None else time.monotonic() + duration_s
        while (line := self._read_line(until_s)) is not None:
            try:
                yield _timing.validate_json(line)
            except ValidationError:
                raise UsageError(f"process {self.pid} is no affectd run of this version") from None

    def events(self, after: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield each event, as its JSON object, until the other process's end.

        Args:
            after: number of the event after which to begin, 0 for all that are still there; None begins now.

        Raises:
            UsageError: as ``ask``.
        """
        self.ask("events", **({} if after is None else {"after": after}))
        while (line := self._read_line(None)) is not None:
            yield json.loads(line)

    def close(self) -> None:
        """Leave."""
        self._connection.close()

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


def attach(pid: int | None = None) -> Client:
    """Connect to the running ``affectd run`` with this process id, or to the only one.

    Raises:
        UsageError: there is none, or there are several.
    """
    return Client(*connect(pid))
