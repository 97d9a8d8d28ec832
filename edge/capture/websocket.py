"""Clients that send over a WebSocket, as a browser or a phone does: PCM, Opus packets, or what a header says.

Needs the extra ``web``. Sources with the same host and port share a server, and differ by their path.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from edge.capture.address import Address
from edge.capture.clients import ClientSource
from edge.capture.messages import OPUS_HZ, MessageStream, check_query, converter
from edge.decoding import AudioReader, open_stream, raw_stream
from edge.errors import AudioDeviceError, AudioFileError, UsageError

if TYPE_CHECKING:
    from websockets.http11 import Request, Response
    from websockets.sync.server import Server, ServerConnection

LONGEST_MESSAGE = 1 << 20
PING_S = 10
"""A client that does not answer a ping in this time is gone."""
BUSY, NO_AUDIO, FINE = 1013, 1003, 1000
"""Close codes of RFC 6455: try again later, unsupported data, normal."""

logger = logging.getLogger(__name__)


class WebSocketClient:
    """A connection; see ``capture.clients.Client``."""

    def __init__(self, connection: ServerConnection, query: Mapping[str, str], who: str) -> None:
        self.heard_at_s = time.monotonic()
        self.is_over = threading.Event()
        self.why = ""
        """It was let go."""
        self._connection, self._query, self._who = connection, query, who

    def open(self, name: str, rate_hz: int) -> AudioReader:
        """Begin to decode what comes."""
        messages = MessageStream(self.receive, converter(self._query))
        if self._query.get("codec") == "opus":
            return raw_stream(messages, name, OPUS_HZ)
        rate_hz = int(self._query.get("rate", rate_hz))
        # Who says what it is means raw samples, whatever these begin like.
        is_raw = not self._query.keys().isdisjoint({"rate", "format", "codec"})
        return raw_stream(messages, name, rate_hz) if is_raw else open_stream(messages, name, rate_hz)

    def receive(self) -> bytes | None:
        """Wait for a message and return it; None at the end."""
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415  (an optional extra)

        try:
            message = self._connection.recv()
        except ConnectionClosed:
            return None
        self.heard_at_s = time.monotonic()
        if isinstance(message, str):
            raise AudioFileError("audio comes in binary messages, and this is text")
        return message

    def close(self, why: str = "") -> None:
        """Let the server's thread close the connection."""
        self.why = self.why or why
        self.is_over.set()

    def __str__(self) -> str:
        return self._who


class WebSocketSource(ClientSource):
    """Waits for a WebSocket at a host, port and path. The constructor is cheap and cannot fail."""

    def __init__(
        self, address: Address, rate_hz: int, queue_s: float, token: str = "", origins: tuple[str, ...] = ()
    ) -> None:
        """Prepare; ``origins`` are those of web pages that may send, besides programs, which have none."""
        super().__init__(str(address), rate_hz, queue_s)
        self.token, self.origins = token, origins
        self._address = address

    def _listen(self) -> None:
        SERVERS.add(self._address, self)

    def _stop_listening(self) -> None:
        SERVERS.remove(self._address, self)


class Servers:
    """A server for each host and port, as long as there is a source for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: dict[tuple[str, int], dict[str, WebSocketSource]] = {}
        self._servers: dict[tuple[str, int], Server] = {}

    def add(self, address: Address, source: WebSocketSource) -> None:
        """Serve a source; raises AudioDeviceError."""
        place = address.host, address.port
        with self._lock:
            paths = self._sources.setdefault(place, {})
            if address.path in paths:
                raise AudioDeviceError(f"cannot listen at {address}: another source does")
            if place not in self._servers:
                self._servers[place] = self._new(place)
            paths[address.path] = source

    def remove(self, address: Address, source: WebSocketSource) -> None:
        """Serve a source no longer."""
        place = address.host, address.port
        with self._lock:
            paths = self._sources.get(place, {})
            if paths.get(address.path) is source:
                del paths[address.path]
            if not paths and (server := self._servers.pop(place, None)):
                server.shutdown()

    def _new(self, place: tuple[str, int]) -> Server:
        try:
            from websockets.sync.server import serve  # noqa: PLC0415  (an optional extra)
        except ImportError:
            raise AudioDeviceError("WebSockets need a package: pip install 'affectd[web]'") from None
        quiet = logging.getLogger(f"{__name__}.server")
        quiet.setLevel(logging.CRITICAL)  # strangers who send garbage are no event
        host, port = place
        try:
            server = serve(
                lambda connection: self._handle(place, connection),
                host,
                port,
                process_request=lambda connection, request: self._refusal(place, connection, request),
                compression=None,
                max_size=LONGEST_MESSAGE,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                close_timeout=PING_S,
                logger=quiet,
            )
        except OSError as error:
            raise AudioDeviceError(f"cannot listen at ws://{host}:{port}: {error.strerror or error}") from None
        threading.Thread(target=server.serve_forever, name=f"WebSockets at {host}:{port}", daemon=True).start()
        return server

    def _refusal(self, place: tuple[str, int], connection: ServerConnection, request: Request) -> Response | None:
        """Return what is answered to a request that is not for us; None: it is welcome."""
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        source = self._sources.get(place, {}).get(parts.path)
        if source is None:
            return connection.respond(HTTPStatus.NOT_FOUND, "no source has this path\n")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in source.origins:
            return connection.respond(HTTPStatus.FORBIDDEN, f"origin {origin} is none of capture.origins\n")
        given = query.get("token") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if source.token and not hmac.compare_digest(given.encode(), source.token.encode()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the token is missing, or another one\n")
        try:
            check_query(query)
        except UsageError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        return None

    def _handle(self, place: tuple[str, int], connection: ServerConnection) -> None:
        """Hand a connection to its source, and wait until that has done with it."""
        assert connection.request
        parts = urlsplit(connection.request.path)
        source = self._sources.get(place, {}).get(parts.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        client = WebSocketClient(connection, query, _peer(connection))
        if why := source.offer(client) if source else "affectd ends":
            logger.warning("ws://%s:%d%s: %s is refused: %s", *place, parts.path, client, why)
            connection.close(BUSY, why)
            return
        client.is_over.wait()
        connection.close(NO_AUDIO if client.why else FINE, client.why.encode()[:120].decode(errors="ignore"))


def _peer(connection: ServerConnection) -> str:
    """Return who sends; what somebody sent who has left already is heard as well."""
    try:
        host, port, *_ = connection.remote_address
    except OSError:
        return "somebody"
    return f"{host}:{port}"


SERVERS = Servers()
