"""A thread that serves the clients of a Wyoming address."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from edge.capture.address import Address
from edge.capture.wyoming.connection import Connection
from edge.capture.wyoming.messages import LONGEST_LINE, WyomingError, error_message
from edge.capture.wyoming.transport import part, reason_of
from edge.capture.wyoming.turn import Turn
from edge.errors import AudioDeviceError

MOST_CLIENTS = 64
END_S = 1.0
"""What clients are told at the end is sent within this time."""

logger = logging.getLogger(__name__)


class WyomingServer:
    """Lets clients in from ``start`` to ``stop``. The constructor is cheap and cannot fail."""

    def __init__(self, address: Address, upstream: Address | None, take: Callable[[Turn], str], queue_s: float) -> None:
        """Prepare; ``take`` is offered each turn, and returns why it is not heard, or nothing."""
        self._address, self._upstream, self._take, self._queue_s = address, upstream, take, queue_s
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over, self._is_free = asyncio.Event(), threading.Event()
        self._connections: dict[asyncio.Task[None], Connection] = {}

    def start(self) -> None:
        """Let clients in, unless it is done already.

        Raises:
            AudioDeviceError: there is no such address, or somebody else is there.
        """
        if self._thread:
            return
        opened: Future[None] = Future()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(opened)), name=f"voice assistants at {self._address}", daemon=True
        )
        thread.start()
        try:
            opened.result()
        except OSError as error:
            raise AudioDeviceError(f"cannot listen at {self._address}: {reason_of(error)}") from None
        self._thread = thread
        if not self._address.is_local:
            logger.warning("whoever reaches %s may speak: Wyoming has no password", self._address)

    def stop(self, wait: bool = False) -> None:
        """Let nobody in any more, ``wait`` for the address to be free, and end what is there soon; from any thread."""
        self.post(self._over.set)
        if wait:
            self._is_free.wait(END_S)

    def post(self, action: Callable[..., object], *arguments: Any) -> None:
        """Let the server's thread do something soon, in the order of the calls; nothing once it has ended."""
        if self._loop:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(action, *arguments)

    async def _serve(self, opened: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            server = await asyncio.start_server(
                self._accept, self._address.host, self._address.port, limit=LONGEST_LINE
            )
        except OSError as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        await self._over.wait()
        server.close()
        self._is_free.set()
        for connection in self._connections.values():
            connection.fail(WyomingError("ending", "affectd ends"))
        if self._connections:
            await asyncio.wait(self._connections, timeout=END_S)
        # What is left is cancelled by the end of the loop.

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MOST_CLIENTS:
            error = WyomingError("too-many-clients", f"{MOST_CLIENTS} clients are connected, and there is no room")
            writer.write(error_message(error).packed())
            await part(reader, writer)
            return
        connection = Connection(reader, writer, self._upstream, self._take, self._queue_s)
        task = asyncio.current_task()
        assert task
        self._connections[task] = connection
        try:
            await connection.run()
        finally:
            del self._connections[task]
