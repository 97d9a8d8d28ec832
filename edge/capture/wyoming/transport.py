"""Connections: to open one, to end one so that the last word arrives, and to follow several ways at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from typing import Any

from edge.capture.address import Address
from edge.capture.wyoming.messages import LONGEST_LINE, Message, WyomingError, read_message

CONNECT_S = 5.0
LINGER_S = 5.0
"""What is sent at last arrives within this time, or not at all."""


async def connected(upstream: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection to a speech-to-text; raises WyomingError."""
    way: Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    if upstream.scheme == "unix":
        way = asyncio.open_unix_connection(upstream.path, limit=LONGEST_LINE)
    else:
        way = asyncio.open_connection(upstream.host, upstream.port, limit=LONGEST_LINE)
    try:
        return await asyncio.wait_for(way, CONNECT_S)
    except (OSError, asyncio.TimeoutError) as error:
        reason = reason_of(error) if isinstance(error, OSError) and str(error) else f"no answer in {CONNECT_S:g} s"
        text = f"the speech-to-text at {upstream} cannot be reached: {reason}"
        raise WyomingError("upstream-unreachable", text) from None


async def description(upstream: Address) -> Message:
    """Return how a speech-to-text describes itself; raises WyomingError."""
    reader, writer = await connected(upstream)
    try:
        writer.write(Message("describe").packed())
        while message := await asyncio.wait_for(read_message(reader), CONNECT_S):
            if message.type == "info":
                return message
    except (OSError, asyncio.TimeoutError):
        pass
    finally:
        await closed(writer)
    raise WyomingError("upstream-timeout", f"the speech-to-text at {upstream} does not describe itself")


def reason_of(error: OSError) -> str:
    """Return why a connection failed, in the system's words and not in those of asyncio."""
    number = error.errno or 0  # negative of a name that cannot be resolved
    return os.strerror(number) if number > 0 else error.strerror or str(error)


async def first_of(*ways: Awaitable[None]) -> None:
    """Follow several ways until one ends, or fails, and end the others."""
    futures = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            future.result()
    finally:
        # Before Python 3.12 wait_for swallows what cancels it in the moment in which it is over.
        while rest := [future for future in futures if not future.done()]:
            for future in rest:
                future.cancel()
            await asyncio.wait(rest, timeout=0.1)
        await asyncio.gather(*futures, return_exceptions=True)


async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close a connection to somebody who sends, and may not have read the last word, which a reset would take away."""
    with suppress(OSError, asyncio.TimeoutError):
        writer.write_eof()
        await asyncio.wait_for(_discard(reader), LINGER_S)
    await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection when all is sent, or soon."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), LINGER_S)
    except (OSError, asyncio.TimeoutError):
        writer.transport.abort()


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(LONGEST_LINE):
        pass
