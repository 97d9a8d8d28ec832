"""A web door at work on a free port, and who asks there."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from edge.doors import Inside, open_door
from edge.doors.web import WebDoor
from edge.doors.web.address import WebAddress
from edge.doors.web.clients import Limits
from edge.errors import StoreError, UsageError
from edge.event import Event, status
from edge.recent import RecentEvents
from edge.settings import WebSettings
from helpers.ports import free_port

HANGS_S = 30.0
STATUS = {
    "bundle": "tiny",
    "version": "1",
    "precision": "float32",
    "architecture": "loudness",
    "provider": "CPUExecutionProvider",
    "heartbeat_age_s": 0.1,
    "not_ready": [],
    "waiting": 3,
    "overload_step": 1,
    "lost_events": {"web": 7},
    "sources": [
        {
            "name": "hall",
            "state": "listening",
            "audio_s": 12.5,
            "lost_s": 0.5,
            "paused_s": 2.0,
            "level_dbfs": -42.5,
            "hears_voice": False,
            "room": {"utterances": 4.0, "share": 0.25, "distance": 1.0},
        },
        {
            "name": "caf\udce9.wav",
            "state": "paused",
            "audio_s": 1.0,
            "lost_s": 0.0,
            "paused_s": 0.0,
            "level_dbfs": -70.0,
            "hears_voice": False,
            "room": None,
        },
    ],
}


@dataclass
class Serving:
    """A door that is open, and how events get to it."""

    door: WebDoor
    port: int
    recent: RecentEvents
    facts: dict[str, Any]
    """What ``status`` answers."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def clients(self) -> int:
        """How many follow events, or meters."""
        assert self.door._server
        return sum(self.door._server._clients().values())

    def publish(self, *events: Event) -> None:
        """Do with events as an engine does, on one thread."""
        for event in events:
            self.recent.add(event)
            self.door.write(event)


def until(what: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + HANGS_S
    while not what():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def events(first: int, count: int) -> list[Event]:
    found = [status("hall", "connected", f"somebody sends, for the {number}. time") for number in range(count)]
    return [_numbered(event, first + index) for index, event in enumerate(found)]


def _numbered(event: Event, number: int) -> Event:
    return Event(event.type, event.source, event.time, number, reason=event.reason, message=event.message)


def actions(facts: Mapping[str, Any]) -> dict[str, Any]:
    def lock(_: Mapping[str, Any]) -> None:
        raise StoreError("the store is locked")

    def fail(_: Mapping[str, Any]) -> None:
        raise RuntimeError("boom")

    def double(request: Mapping[str, Any]) -> int:
        if not isinstance(request.get("number"), int):
            raise UsageError("double needs a number")
        return 2 * int(request["number"])

    return {"status": lambda _: dict(facts), "double": double, "lock": lock, "fail": fail}


@contextmanager
def serving(limits: Limits | None = None, most: int = 2_000, token: str = "", **settings: Any) -> Iterator[Serving]:
    """Open a door with a few actions, and close it."""
    port, facts, recent = free_port(), dict(STATUS), RecentEvents(most)
    inside = Inside(actions(facts), recent)
    wanted = WebSettings(address=f"127.0.0.1:{port}", token=token, **settings)
    door = open_door(wanted, inside)
    assert isinstance(door, WebDoor)
    if limits:
        door = WebDoor(WebAddress("127.0.0.1", port), wanted, token, inside, limits)
    try:
        door.open()
        yield Serving(door, port, recent, facts)
    finally:
        door.close()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: CIMultiDictProxy[str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def ask(url: str, method: str = "GET", headers: Mapping[str, str] | None = None, **request: Any) -> Answer:
    """Send one request, and return what comes back."""

    async def asked() -> Answer:
        timeout = aiohttp.ClientTimeout(HANGS_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, headers=headers, **request) as response,
        ):
            return Answer(response.status, response.headers, await response.text())

    return asyncio.run(asked())


def raw(port: int, data: bytes, at_least: int = 1) -> bytes:
    """Send bytes, and return what comes back until the other end closes or has sent so much."""
    with socket.create_connection(("127.0.0.1", port), HANGS_S) as connection:
        connection.sendall(data)
        found = b""
        while len(found) < at_least and (more := connection.recv(65_536)):
            found += more
    return found


@dataclass(frozen=True)
class Message:
    """A message of a stream of Server-Sent Events."""

    event: str
    data: str
    id: str


async def messages(response: aiohttp.ClientResponse) -> Any:
    """Yield the messages of a stream as they come; a comment has neither event nor data."""
    fields: dict[str, str] = {}
    async for raw_line in response.content:
        line = raw_line.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield Message(fields.get("event", ""), fields.get("data", ""), fields.get("id", ""))
            fields = {}


def numbers(lines: Sequence[str]) -> list[int]:
    return [json.loads(line)["number"] for line in lines]
