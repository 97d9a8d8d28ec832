"""The web server as a door."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
from collections.abc import Sequence
from contextlib import suppress

from edge.doors.inside import Inside
from edge.doors.web.address import WebAddress, parse_web_address
from edge.doors.web.clients import Limits
from edge.doors.web.server import WebServer
from edge.errors import UsageError
from edge.event import Event
from edge.folders import credential
from edge.meter import Meter
from edge.settings import WebSettings

CLOSE_S = 2.0
CREDENTIAL = "web-token"
ORIGIN = r"[a-z][a-z0-9+.-]*://[^\s/?#]+"


class WebDoor:
    """The web server, whose loop has a thread of its own. The constructor is cheap; ``open`` may fail."""

    name = "web"
    can_refresh = True
    is_patient = True

    def __init__(
        self, address: WebAddress, settings: WebSettings, token: str, inside: Inside, limits: Limits | None = None
    ) -> None:
        """Prepare; an empty token is none."""
        self._arguments = address, settings, token, inside, limits or Limits()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: WebServer | None = None
        self._is_ringing = False

    def open(self) -> None:
        """Listen.

        Raises:
            OutputError: that is not possible.
        """
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=(self._loop,), name="web", daemon=True).start()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        except BaseException:
            self.close()
            raise

    def write(self, event: Event) -> None:
        """Count an event, and say that there is one; clients take it from those that are kept."""
        if self._loop and self._server:
            self._server.figures.follow(event)
            if not self._is_ringing:
                self._is_ringing = True
                self._loop.call_soon_threadsafe(self._ring)

    def refresh(self, meters: Sequence[Meter]) -> None:
        """Know where to look for what the sources hear."""
        if self._server:
            self._server.live.meters = meters

    def close(self) -> None:
        """End all clients within a second; may be called more than once."""
        loop, self._loop = self._loop, None
        if loop:
            with suppress(concurrent.futures.TimeoutError):
                asyncio.run_coroutine_threadsafe(self._close(), loop).result(CLOSE_S)
            loop.call_soon_threadsafe(loop.stop)

    async def _open(self) -> None:
        self._server = WebServer(*self._arguments)
        await self._server.open()

    async def _close(self) -> None:
        if self._server:
            await self._server.close()

    def _ring(self) -> None:
        self._is_ringing = False
        if self._server:
            self._server.ring()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def web_door(settings: WebSettings, inside: Inside) -> WebDoor:
    """Return a door that is not open yet.

    Raises:
        UsageError: the address or an origin is wrong, or others reach it and there is no token.
    """
    address = parse_web_address(settings.listens_at)
    token = settings.token or credential(CREDENTIAL)
    if not (address.is_local or token):
        raise UsageError(f"web.address {settings.listens_at}: other machines reach it, so that it needs web.token")
    for origin in settings.origins:
        if not re.fullmatch(ORIGIN, origin):
            raise UsageError(f"web.origins {origin!r} is not of the form https://example.org, without a path")
    return WebDoor(address, settings, token, inside)
