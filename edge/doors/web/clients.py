"""Who follows, and how a follower is served at its own pace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from edge.recent import RecentEvents

BATCH_EVENTS = 64
"""Events that are sent at once, and all that is held for a client besides its connection's buffer."""

Send = Callable[[int, Sequence[tuple[int, str]]], Awaitable[None]]
"""Sends how many events were missed, if any, and then events; without either it sends a sign of life."""


@dataclass(frozen=True)
class Limits:
    """What clients may cost."""

    followers: int = 64
    """That follow events, or meters."""
    slow_s: float = 30.0
    """A client that has taken nothing for this long, while its buffer is full, is dropped."""
    quiet_s: float = 15.0
    """From one sign of life to the next while there is nothing to say."""


class Followers:
    """Clients that follow something, until they leave or the server ends. For the loop of the server alone."""

    def __init__(self, most: int) -> None:
        self.is_ending = False
        self._most = most
        self._bells: dict[asyncio.Event, asyncio.Task[None] | None] = {}

    def __len__(self) -> int:
        return len(self._bells)

    @contextmanager
    def joined(self) -> Iterator[asyncio.Event]:
        """Count a client for as long as it is served; yield what is set whenever there may be news for it.

        Raises:
            HTTPServiceUnavailable: there are too many.
        """
        if self.is_ending or len(self._bells) >= self._most:
            reason = "affectd ends" if self.is_ending else f"there are {self._most} clients already"
            raise web.HTTPServiceUnavailable(text=reason)
        bell = asyncio.Event()
        self._bells[bell] = asyncio.current_task()
        try:
            yield bell
        finally:
            del self._bells[bell]

    def ring(self) -> None:
        """Say that there is news."""
        for bell in self._bells:
            bell.set()

    async def end(self, within_s: float) -> None:
        """Let all send what they have to, and wait for that, but not for long."""
        self.is_ending = True
        self.ring()
        tasks = [task for task in self._bells.values() if task]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)


async def follow(
    recent: RecentEvents, after: int, send: Send, followers: Followers, bell: asyncio.Event, quiet_s: float
) -> None:
    """Send events as they come, until the server ends; nobody waits for it, and nothing is kept for it.

    Raises:
        ConnectionError: the client has left.
    """
    while True:
        events, missed = recent.after(after, most=BATCH_EVENTS)
        if events:
            await send(missed, events)
            after = events[-1][0]
            await asyncio.sleep(0)  # others have their turn while one that reads quickly catches up
        elif followers.is_ending:
            return
        elif not await rung(bell, quiet_s):
            await send(0, ())


async def rung(bell: asyncio.Event, within_s: float) -> bool:
    """Wait for a bell since the last time, but not for long; return whether it was."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + within_s
    # Before Python 3.12 asyncio.wait_for may forget that it was cancelled, as who has left is.
    timer = loop.call_at(until_s, bell.set)
    try:
        await bell.wait()
    finally:
        timer.cancel()
    bell.clear()
    return loop.time() < until_s


@contextmanager
def patience(request: web.Request, slow_s: float) -> Iterator[None]:
    """Let go of a client that takes too long to take what is sent to it, and of what it has not taken."""
    timer = asyncio.get_running_loop().call_later(slow_s, _drop, request)
    try:
        yield
    finally:
        timer.cancel()


def _drop(request: web.Request) -> None:
    if request.transport:
        request.transport.abort()
