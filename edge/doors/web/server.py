"""The web server: addresses, and the sockets behind them. Everything here runs in the loop of its own thread."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from edge.doors.inside import Inside
from edge.doors.web.address import WebAddress
from edge.doors.web.ask import MOST_AT_ONCE, MOST_BODY_BYTES, AskRoutes
from edge.doors.web.clients import Followers, Limits
from edge.doors.web.enrol import EnrolRoute
from edge.doors.web.events import EventRoute
from edge.doors.web.gate import Gate
from edge.doors.web.live import LiveRoute
from edge.doors.web.metrics import Figures
from edge.doors.web.pages import PageRoutes
from edge.errors import OutputError
from edge.settings import WebSettings

BIND_S = 5.0
"""An address may be in use for so long: by the server that this one takes over from."""
RETRY_S = 0.1
IDLE_S = 15.0
"""A connection without a request is closed after this time."""
MOST_CONNECTIONS = 160
"""More than may follow: nobody who only connects keeps others out of descriptors that the process needs."""
MOST_HEADER_BYTES = 8_190
"""Of the first line, and of each header."""
BUFFER_BYTES = 1 << 18
"""That the kernel holds for a client."""
SETTLE_S = 0.01
"""A connection that was accepted just before the end is sent away in this time."""
DRAIN_S, CANCEL_S = 0.5, 0.1
"""At the end: for clients to get the last events, and for requests that are being answered."""

quiet = logging.getLogger(f"{__name__}.http")
quiet.setLevel(logging.CRITICAL)  # strangers who send garbage are no event


class _Refusal(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


class WebServer:
    """Serves until it is closed. Created, opened and closed within its loop."""

    def __init__(self, address: WebAddress, settings: WebSettings, token: str, inside: Inside, limits: Limits) -> None:
        """Prepare."""
        self._address, self._limits = address, limits
        self._followers = Followers(limits.followers)
        self._lookers = Followers(limits.followers)
        self._pool = ThreadPoolExecutor(2 * MOST_AT_ONCE, "web request")
        self.live = LiveRoute(self._lookers, limits)
        people = inside.people if settings.dashboard else None
        actions = {**inside.actions, **people.actions} if people else inside.actions
        events, ask = EventRoute(inside.recent, self._followers, limits), AskRoutes(actions, self._pool)
        self.figures = Figures(lambda: inside.actions["status"]({}), self._clients, settings.people)
        pages, gate = PageRoutes(settings.dashboard), Gate(address, token, settings.origins, settings.dashboard)
        app = web.Application(middlewares=[gate.middleware], client_max_size=MOST_BODY_BYTES)
        app.on_response_prepare.append(gate.prepare)
        routes = [
            web.get("/", pages.index),
            web.get("/page/{name}", pages.file),
            web.get("/events", events.get, allow_head=False),
            web.get("/live", self.live.get, allow_head=False),
            web.get("/status", ask.status),
            web.post("/do/{name}", ask.do),
            web.get("/metrics", self._metrics),
            web.get("/health", ask.health),
            web.get("/ready", ask.ready),
            *([web.get("/enrol", EnrolRoute(people).get)] if people else []),
        ]
        app.add_routes(routes)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=quiet,
            handler_cancellation=True,
            shutdown_timeout=CANCEL_S,
            keepalive_timeout=IDLE_S,
            lingering_time=0.0,
            max_line_size=MOST_HEADER_BYTES,
            max_field_size=MOST_HEADER_BYTES,
        )
        self._server: asyncio.Server | None = None
        self._is_closing = False

    async def open(self) -> None:
        """Listen.

        Raises:
            OutputError: that is not possible, with the address and the reason.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + BIND_S
        while self._server is None:
            try:
                self._server = await loop.create_server(
                    self._connection, self._address.host, self._address.port, start_serving=False
                )
            except OSError as error:
                if error.errno != errno.EADDRINUSE or loop.time() >= until_s:
                    # What asyncio says of one repeats the address; a name that is not found has no number of errno.
                    reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
                    raise OutputError(f"cannot listen at {self._address}: {reason}") from None
                await asyncio.sleep(RETRY_S)
        for listener in self._server.sockets:
            # Of its connections, too.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1e3 * self._limits.slow_s))
        await self._server.start_serving()

    def ring(self) -> None:
        """Tell those who follow that there is an event."""
        self._followers.ring()

    async def close(self) -> None:
        """Listen no more, let those who follow have the last events, and end all connections soon."""
        self._is_closing = True
        if self._server:
            # A server that is closed while it accepts would leave that connection open: first it accepts no more.
            for listener in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listener)
            await asyncio.sleep(SETTLE_S)
            self._server.close()
        await asyncio.gather(self._followers.end(DRAIN_S), self._lookers.end(DRAIN_S))
        server = self._runner.server
        transports = [connection.transport for connection in server.connections] if server else []
        await self._runner.cleanup()
        for transport in transports:
            if transport:
                transport.abort()  # of somebody who has not read the rest, it would wait for ever
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = ",".join(request.headers.getall("Accept", ()))
        body, content_type = await asyncio.get_running_loop().run_in_executor(self._pool, self.figures.page, accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    def _clients(self) -> dict[str, int]:
        return {"events": len(self._followers), "live": len(self._lookers)}

    def _connection(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server
        return _Refusal() if self._is_closing or len(server.connections) >= MOST_CONNECTIONS else server()
