"""``/events``: every event as it comes, as Server-Sent Events or over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from edge.doors.web.clients import Followers, Limits, follow, patience
from edge.recent import RecentEvents

SSE_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
RETRY_MS = 1_000
"""A browser that has lost the connection comes back after this time."""
LONGEST_MESSAGE = 4_096
"""That a client of a WebSocket may send, where nothing is expected of it."""
HEARTBEAT_S = 30.0
"""A client of a WebSocket that does not answer half of this time after a ping is gone."""
CLOSE_S = 0.3


class EventRoute:
    """Serves those who follow events."""

    def __init__(self, recent: RecentEvents, followers: Followers, limits: Limits) -> None:
        self._recent, self._followers, self._limits = recent, followers, limits

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Serve a client until it leaves."""
        after = self._after(request)
        with self._followers.joined() as bell:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._serve_websocket(request, after, bell)
            return await self._serve_stream(request, after, bell)

    def _after(self, request: web.Request) -> int:
        """Return the number of the last event that a client has.

        Raises:
            HTTPBadRequest: ``after`` is no number.
        """
        known, asked = request.headers.get("Last-Event-ID"), request.query.get("after")
        if known is not None:
            run, _, number = known.rpartition("-")
            return int(number) if run == self._recent.run and _is_number(number) else 0
        if asked is None:
            return self._recent.last
        if not _is_number(asked):
            raise web.HTTPBadRequest(text=f"after is the number of an event, or 0, not {asked!r}")
        return int(asked)

    async def _serve_stream(self, request: web.Request, after: int, bell: asyncio.Event) -> web.StreamResponse:
        response = web.StreamResponse(headers=SSE_HEADERS)
        await response.prepare(request)
        await response.write(f"retry: {RETRY_MS}\n\n".encode())

        async def send(missed: int, events: Sequence[tuple[int, str]]) -> None:
            parts = [f"event: missed\ndata: {missed}\n\n"] if missed else []
            parts += [f"id: {self._recent.run}-{number}\ndata: {line}\n\n" for number, line in events]
            with patience(request, self._limits.slow_s):
                await response.write("".join(parts).encode() or b": nothing new\n\n")

        await follow(self._recent, after, send, self._followers, bell, self._limits.quiet_s)
        return response

    async def _serve_websocket(self, request: web.Request, after: int, bell: asyncio.Event) -> web.StreamResponse:
        response = web.WebSocketResponse(
            timeout=CLOSE_S, heartbeat=HEARTBEAT_S, max_msg_size=LONGEST_MESSAGE, compress=False
        )
        try:
            await response.prepare(request)
        except ValueError:  # headers that are no text
            raise web.HTTPBadRequest(text="a WebSocket begins as in RFC 6455, and this does not") from None

        async def send(missed: int, events: Sequence[tuple[int, str]]) -> None:
            with patience(request, self._limits.slow_s):
                if missed:
                    await response.send_str(json.dumps({"missed": missed}))
                for _, line in events:
                    await response.send_str(line)

        following = follow(self._recent, after, send, self._followers, bell, self._limits.quiet_s)
        tasks = asyncio.ensure_future(following), asyncio.ensure_future(_until_left(response))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError, ConnectionError):
                    await task
        if self._followers.is_ending:
            await response.close(code=WSCloseCode.GOING_AWAY, message=b"affectd ends")
        return response


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(2**63))


async def _until_left(response: web.WebSocketResponse) -> None:
    """Wait for the end of a client; one that says something is told that nobody listens."""
    async for message in response:
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            await response.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"nothing is read here")
