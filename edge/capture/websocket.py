"""Clients that send over a WebSocket, as a browser or a phone does: PCM, Opus packets, or what a header says.

Needs the extra ``web``. Sources with the same host and port share a server, and differ by their path.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import threading
from collections import deque
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from edge.capture.address import Address
from edge.capture.clients import ClientSource
from edge.capture.messages import OPUS_HZ, MessageStream, check_query, converter
from edge.capture.web_server import WebServer
from edge.decoding import AudioReader, open_stream, raw_stream
from edge.errors import AudioDeviceError, AudioFileError, UsageError

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest, StreamResponse, WebSocketResponse

LONGEST_MESSAGE = 1 << 20
BACKLOG_BYTES = 8 << 20
"""What a client may send ahead of time, four minutes of 16-bit PCM; then nothing is read from it for a while, and not
its pings either."""
CLOSE_S = 1.0
"""A client that does not answer a close in this time is left."""
BUSY, NO_AUDIO, FINE = 1013, 1003, 1000
"""Close codes of RFC 6455: try again later, unsupported data, normal."""

logger = logging.getLogger(__name__)


class WebSocketClient:
    """A connection; see ``capture.clients.Client``. Made and fed in the server's loop, read by the source's thread."""

    def __init__(self, query: Mapping[str, str], who: str) -> None:
        self.keeps_until_s = 0.0
        self.why = ""
        """It was let go."""
        self._query, self._who = query, who
        self._messages: deque[bytes | AudioFileError] = deque()
        self._waiting_bytes = 0
        self._ended = False
        self._changed = threading.Condition()
        self._loop = asyncio.get_running_loop()
        self._room, self._is_over = asyncio.Event(), asyncio.Event()

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
        """Wait for a message and return it; None at the end. What it sent before it left is there to the last byte."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._ended)
            message = self._messages.popleft() if self._messages else None
            if isinstance(message, bytes):
                self._waiting_bytes -= len(message)
        self._tell(self._room)
        if isinstance(message, AudioFileError):
            raise message
        return message

    async def take(self, websocket: WebSocketResponse) -> None:
        """Take all that comes, until the client leaves; for the server's loop."""
        from aiohttp import WSMsgType  # noqa: PLC0415  (an optional extra)

        async for message in websocket:
            if message.type is WSMsgType.BINARY:
                self._add(message.data)
            elif message.type is WSMsgType.TEXT:
                self._add(AudioFileError("audio comes in binary messages, and this is text"))
            while self._waiting_bytes > BACKLOG_BYTES:
                self._room.clear()
                await self._room.wait()
        self._end()

    async def let_go(self) -> None:
        """Wait until the source has done with it; for the server's loop."""
        await self._is_over.wait()

    def close(self, why: str = "") -> None:
        """Let the server close the connection."""
        self.why = self.why or why
        with self._changed:
            self._messages.clear()
            self._waiting_bytes = 0
        self._end()
        self._tell(self._is_over)

    def __str__(self) -> str:
        return self._who

    def _add(self, message: bytes | AudioFileError) -> None:
        with self._changed:
            if not self._ended:
                self._messages.append(message)
                self._waiting_bytes += len(message) if isinstance(message, bytes) else 0
                self._changed.notify_all()

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _tell(self, event: asyncio.Event) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(event.set)


class WebSocketSource(ClientSource):
    """Waits for a WebSocket at a host, port and path. The constructor is cheap and cannot fail."""

    def __init__(
        self, address: Address, rate_hz: int, queue_s: float, token: str = "", origins: tuple[str, ...] = ()
    ) -> None:
        """Prepare; ``origins`` are those of web pages that may send, besides programs, which have none."""
        super().__init__(str(address), rate_hz, queue_s)
        self.token, self.origins = token, origins
        self._address = address

    def refusal(self, request: BaseRequest) -> tuple[HTTPStatus, str] | None:
        """Return what is answered to a request that is not for it; None: it is welcome."""
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self.origins:
            return HTTPStatus.FORBIDDEN, f"origin {origin} is none of capture.origins"
        given = request.query.get("token") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.token and not hmac.compare_digest(given.encode(), self.token.encode()):
            return HTTPStatus.UNAUTHORIZED, "the token is missing, or another one"
        try:
            check_query(dict(request.query))
        except UsageError as error:
            return HTTPStatus.BAD_REQUEST, str(error)
        return None

    def _listen(self) -> None:
        SERVERS.add(self._address, self)

    def _stop_listening(self) -> None:
        SERVERS.remove(self._address, self)


class Servers:
    """A server for each host and port, as long as there is a source for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: dict[tuple[str, int], dict[str, WebSocketSource]] = {}
        self._servers: dict[tuple[str, int], WebServer] = {}

    def add(self, address: Address, source: WebSocketSource) -> None:
        """Serve a source; raises AudioDeviceError."""
        place = address.host, address.port
        with self._lock:
            paths = self._sources.setdefault(place, {})
            if address.path in paths:
                raise AudioDeviceError(f"cannot listen at {address}: another source does")
            if place not in self._servers:
                self._servers[place] = WebServer(*place, lambda request: self._answer(paths, request))
            paths[address.path] = source

    def remove(self, address: Address, source: WebSocketSource) -> None:
        """Serve a source no longer."""
        place = address.host, address.port
        with self._lock:
            paths = self._sources.get(place, {})
            if paths.get(address.path) is source:
                del paths[address.path]
            server = None if paths else self._servers.pop(place, None)
            if server:
                server.close()

    async def _answer(self, paths: Mapping[str, WebSocketSource], request: BaseRequest) -> StreamResponse:
        """Hand a connection to its source, until one of both has done with the other."""
        from aiohttp import web  # noqa: PLC0415  (an optional extra)

        source = paths.get(request.path)
        if source is None:
            return web.Response(status=HTTPStatus.NOT_FOUND, text="no source has this path\n")
        if refusal := source.refusal(request):
            return web.Response(status=refusal[0], text=f"{refusal[1]}\n")
        websocket = web.WebSocketResponse(max_msg_size=LONGEST_MESSAGE, compress=False, timeout=CLOSE_S)
        if not websocket.can_prepare(request):
            return web.Response(status=HTTPStatus.UPGRADE_REQUIRED, text="audio comes over a WebSocket\n")
        await websocket.prepare(request)
        client = WebSocketClient(request.query, _peer(request))
        if why := source.offer(client):
            logger.warning("%s: %s is refused: %s", source.name, client, why)
            await websocket.close(code=BUSY, message=why.encode())
            return websocket
        taking, let_go = asyncio.ensure_future(client.take(websocket)), asyncio.ensure_future(client.let_go())
        done, _ = await asyncio.wait({taking, let_go}, return_when=asyncio.FIRST_COMPLETED)
        if let_go in done:
            taking.cancel()
            reason = client.why.encode()[:120].decode(errors="ignore").encode()
            await websocket.close(code=NO_AUDIO if client.why else FINE, message=reason)
        let_go.cancel()
        return websocket


def _peer(request: BaseRequest) -> str:
    """Return who sends; what somebody sent who has left already is heard as well."""
    peer = request.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if peer else "somebody"


SERVERS = Servers()
