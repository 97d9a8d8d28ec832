"""A web server in a thread of its own. Needs the extra ``web``."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from edge.errors import AudioDeviceError

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest, RequestHandler, Server, StreamResponse

Answer = Callable[["BaseRequest"], Awaitable["StreamResponse"]]

REQUEST_S = 5.0
"""Who has not asked for anything in this time is let go."""
CLOSE_S = 1.0
"""For connections that are open when the server closes."""


class WebServer:
    """Answers requests at a host and port, from now on until ``close``."""

    def __init__(self, host: str, port: int, answer: Answer) -> None:
        """Listen.

        Args:
            host: a name or number.
            port: of TCP.
            answer: to a request; called in the loop of the server's thread.

        Raises:
            AudioDeviceError: a package is missing, or the place is taken.
        """
        try:
            from aiohttp import web  # noqa: PLC0415  (an optional extra)
        except ImportError:
            raise AudioDeviceError("WebSockets need a package: pip install 'affectd[web]'") from None
        self._loop = asyncio.new_event_loop()
        self._silent: set[RequestHandler] = set()
        """Connections from which no request has come yet."""

        async def answered(request: BaseRequest) -> StreamResponse:
            self._silent.discard(request.protocol)
            return await answer(request)

        async def listening() -> tuple[Server, asyncio.Server]:
            server = web.Server(answered, access_log=None)
            return server, await self._loop.create_server(self._connection, host, port)

        try:
            self._server, self._listener = self._loop.run_until_complete(listening())
        except OSError as error:
            self._loop.close()
            raise AudioDeviceError(f"cannot listen at ws://{host}:{port}: {os.strerror(error.errno or 0)}") from None
        self._thread = threading.Thread(target=self._run, name=f"web server {host}:{port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let nobody in any more, and let go of everybody soon; from any other thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _connection(self) -> asyncio.Protocol:
        protocol: RequestHandler = self._server()
        self._silent.add(protocol)
        self._loop.call_later(REQUEST_S, self._leave_if_silent, protocol)
        return protocol

    def _leave_if_silent(self, protocol: RequestHandler) -> None:
        if protocol in self._silent and protocol.transport:
            protocol.transport.abort()
        self._silent.discard(protocol)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        self._listener.close()
        await self._server.shutdown(CLOSE_S)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
