"""``/do/NAME``, ``/status``, ``/health`` and ``/ready``: what may be asked of a running affectd."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any

from aiohttp import web

from edge.actions import Actions
from edge.doors.web.gate import refused
from edge.errors import AffectdError, AudioDeviceError, StoreError, UsageError, nearest

MOST_BODY_BYTES = 1 << 16
BODY_S = 10.0
"""A client that has not sent its request in this time is dropped."""
MOST_AT_ONCE = 4
"""Requests to do something; more wait."""
ANSWER_S = 5.0
"""Who does not say in this time how it is, is not well."""
STUCK_S = 30.0
"""The thread that recognises is stuck when it has not been heard of for so long; as the watchdog of the service."""

logger = logging.getLogger(__name__)


class AskRoutes:
    """Hands requests to the actions, each on a thread of a pool."""

    def __init__(self, actions: Actions, pool: Executor) -> None:
        self._actions, self._pool = actions, pool
        self._turn = asyncio.Semaphore(MOST_AT_ONCE)

    async def do(self, request: web.Request) -> web.Response:
        """Do something, and answer with what came of it."""
        name = request.match_info["name"]
        if name not in self._actions:
            known = ", ".join(self._actions)
            return refused(404, f"cannot do {name!r}{nearest(name, self._actions)}; it can do {known}")
        if request.content_type != "application/json":
            return refused(415, f"a request is application/json, not {request.content_type}")
        wanted = await _object_in(request)
        async with self._turn:
            return await self._answer(name, wanted)

    async def status(self, request: web.Request) -> web.Response:
        """Answer as ``do/status``."""
        return await self._answer("status", {})

    async def health(self, request: web.Request) -> web.Response:
        """Say whether the thread that recognises is alive."""
        try:
            age_s = (await self.look())["heartbeat_age_s"]
        except asyncio.TimeoutError:
            return refused(503, f"affectd has not answered within {ANSWER_S:g} s")
        if age_s > STUCK_S:
            return refused(503, f"the thread that recognises has not been heard of for {age_s:.0f} s")
        return web.json_response({"answer": "healthy"})

    async def ready(self, request: web.Request) -> web.Response:
        """Say whether it listens, or what it waits for."""
        try:
            reasons = (await self.look())["not_ready"]
        except asyncio.TimeoutError:
            return refused(503, f"affectd has not answered within {ANSWER_S:g} s")
        return refused(503, "; ".join(reasons)) if reasons else web.json_response({"answer": "ready"})

    async def look(self) -> Mapping[str, Any]:
        """Return what ``status`` says; raises asyncio.TimeoutError where it says nothing."""
        answer: Mapping[str, Any] = await asyncio.wait_for(self._in_pool("status", {}), ANSWER_S)
        return answer

    async def _answer(self, name: str, wanted: Mapping[str, Any]) -> web.Response:
        try:
            return web.json_response({"answer": await self._in_pool(name, wanted)})
        except UsageError as error:
            return refused(400, str(error))
        except (StoreError, AudioDeviceError) as error:
            return refused(503, str(error))
        except AffectdError as error:
            return refused(500, str(error))

    async def _in_pool(self, name: str, wanted: Mapping[str, Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(self._actions[name], wanted))


async def _object_in(request: web.Request) -> Mapping[str, Any]:
    """Return the JSON object of a request; nothing at all is an empty one.

    Raises:
        HTTPException: it is none, too long, or too slow.
    """
    try:
        body = await asyncio.wait_for(request.read(), BODY_S)
        wanted = json.loads(body or b"{}")
    except asyncio.TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the request was not there within {BODY_S:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise web.HTTPRequestEntityTooLarge(
            MOST_BODY_BYTES, MOST_BODY_BYTES, text=f"a request has at most {MOST_BODY_BYTES:,} bytes"
        ) from None
    except (ValueError, RecursionError, web.RequestPayloadError):
        wanted = None
    if not isinstance(wanted, dict):
        raise web.HTTPBadRequest(text='a request is a JSON object, such as {"source": "hall"}')
    return wanted
