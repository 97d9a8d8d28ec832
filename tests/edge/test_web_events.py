"""Following events over the web: from where on, at which pace, and at whose cost."""

import asyncio
import json
import resource
import socket
import threading
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from edge.doors.web import door, server
from edge.doors.web import events as events_module
from edge.doors.web.clients import Limits
from helpers.web import HANGS_S, Message, Serving, ask, events, messages, numbers, serving, until

QUICK = Limits(slow_s=6.0)


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(HANGS_S))


async def streamed(there: Serving, count: int, query: str = "", last: str | None = None, path: str = "/events") -> Any:
    """Return the first messages of a stream."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with session() as client, client.get(there.url + path + query, headers=headers) as response:
        assert response.status == 200
        found: list[Message] = []
        async for message in messages(response):
            if message.data:
                found.append(message)
            if len(found) == count:
                return found
    return found


def followed(there: Serving, count: int, query: str = "", last: str | None = None) -> list[Message]:
    found: list[Message] = asyncio.run(streamed(there, count, query, last))
    return found


def test_who_follows_begins_where_they_were() -> None:
    with serving() as there:
        there.publish(*events(1, 5))
        run = there.recent.run
        found = followed(there, 5, "?after=0")
        assert [message.id for message in found] == [f"{run}-{number}" for number in range(1, 6)]
        assert [json.loads(message.data) for message in found] == [
            json.loads(line) for _, line in there.recent.after(0)[0]
        ]
        assert numbers([message.data for message in followed(there, 2, "?after=3")]) == [4, 5]
        assert numbers([message.data for message in followed(there, 2, "?after=0", last=f"{run}-3")]) == [4, 5]
        for other in ("00000000-3", "3", "", "x", f"{run}-", f"{run}-x", f"{run}--1"):
            assert numbers([message.data for message in followed(there, 5, "?after=4", last=other)]) == [1, 2, 3, 4, 5]
        for wrong in ("-1", "x", "1.5", "", "9" * 50, "%D9%A1"):
            answer = ask(f"{there.url}/events?after={wrong}")
            assert (answer.status, "is the number of an event" in answer.json["error"]) == (400, True)


def test_without_a_number_it_begins_now() -> None:
    with serving() as there:
        there.publish(*events(1, 5))
        threading.Thread(target=lambda: (until(lambda: there.clients), there.publish(*events(6, 1)))).start()
        assert numbers([message.data for message in followed(there, 1)]) == [6]


def test_who_comes_late_is_told_how_many_events_are_gone() -> None:
    with serving(most=10) as there:
        there.publish(*events(1, 25))
        missed, *found = followed(there, 11, "?after=3")
        assert missed == Message("missed", "12", "")
        assert numbers([message.data for message in found]) == list(range(16, 26))

        async def over_websocket() -> list[Any]:
            async with session() as client, client.ws_connect(f"{there.url}/events?after=3") as socket_:
                return [await socket_.receive_json() for _ in range(11)]

        told, *events_ = asyncio.run(over_websocket())
        assert told == {"missed": 12}
        assert [event["number"] for event in events_] == list(range(16, 26))


def test_while_nothing_happens_there_is_a_sign_of_life() -> None:
    with serving(Limits(quiet_s=0.05)) as there:

        async def comments() -> list[bytes]:
            async with session() as client, client.get(f"{there.url}/events") as response:
                return [line async for _, line in _some(response.content, 6)]

        assert asyncio.run(comments()).count(b": nothing new\n") == 2


async def _some(lines: aiohttp.StreamReader, count: int) -> Any:
    for index in range(count):
        yield index, await lines.readline()


def test_a_client_of_a_websocket_that_says_something_is_told_that_nobody_listens() -> None:
    with serving() as there:

        async def talk() -> int | None:
            async with session() as client, client.ws_connect(f"{there.url}/events") as socket_:
                await socket_.send_str("hello?")
                await socket_.receive()
                return socket_.close_code

        assert asyncio.run(talk()) == 1003
        until(lambda: not there.clients)


def test_there_is_an_end_to_how_many_may_follow() -> None:
    with serving(Limits(followers=2)) as there:

        async def crowd() -> list[int]:
            async with session() as client:
                responses = [await client.get(there.url + path) for path in ("/events", "/events", "/events", "/live")]
                return [response.status for response in responses]

        assert asyncio.run(crowd()) == [200, 200, 503, 200]
        until(lambda: not there.clients)
        there.publish(*events(1, 1))
        assert followed(there, 1, "?after=0")


def test_the_end_gives_everybody_the_last_events(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((server, "DRAIN_S"), (door, "CLOSE_S"), (events_module, "CLOSE_S")):
        monkeypatch.setattr(module, name, HANGS_S)  # on a machine as slow as it may be
    with serving() as there:

        async def follow() -> tuple[list[Message], list[int], int | None]:
            async with session() as client, client.ws_connect(f"{there.url}/events") as socket_:
                stream = asyncio.ensure_future(streamed(there, -1))
                live = asyncio.ensure_future(streamed(there, -1, path="/live"))
                texts = asyncio.ensure_future(_numbers_of(socket_))
                await asyncio.to_thread(until, lambda: there.clients == 3)
                there.publish(*events(1, 500))
                await asyncio.to_thread(there.door.close)
                await live
                return await stream, await texts, socket_.close_code

        found, texts, close_code = asyncio.run(follow())
        assert numbers([message.data for message in found]) == texts == list(range(1, 501))
        assert close_code == 1001


def test_the_end_waits_for_nobody_who_does_not_read() -> None:
    with serving(most=5_000) as there, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.connect(("127.0.0.1", there.port))
        deaf.sendall(f"GET /events HTTP/1.1\r\nHost: localhost:{there.port}\r\n\r\n".encode())
        until(lambda: there.clients == 1)
        there.publish(*events(1, 5_000))
        there.door.close()
        deaf.settimeout(HANGS_S)
        with suppress(ConnectionResetError):
            while deaf.recv(65_536):
                pass


async def _numbers_of(socket_: aiohttp.ClientWebSocketResponse) -> list[int]:
    return [json.loads(message.data)["number"] async for message in socket_]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stream", "websocket"])
def test_five_of_ten_never_read_and_the_others_miss_nothing_that_they_are_not_told_of(kind: str) -> None:
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    total = 20_000
    with serving(QUICK) as there:
        how = upgrade + key if kind == "websocket" else ""
        request = f"GET /events?after=0 HTTP/1.1\r\nHost: localhost:{there.port}\r\n{how}\r\n".encode()
        deaf = []
        for _ in range(5):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.connect(("127.0.0.1", there.port))
            connection.sendall(request)
            deaf.append(connection)
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        async def counted() -> tuple[int, int]:
            """Return how many events came, and how many were said to be gone."""
            missed, found = 0, 0
            async with session() as client:
                if kind == "stream":
                    async with client.get(f"{there.url}/events?after=0") as response:
                        async for message in messages(response):
                            missed += int(message.data) if message.event == "missed" else 0
                            found += bool(message.id)
                            if missed + found == total:
                                break
                else:
                    async with client.ws_connect(f"{there.url}/events?after=0") as socket_:
                        async for text in socket_:
                            value = json.loads(text.data)
                            missed, found = missed + value.get("missed", 0), found + ("number" in value)
                            if missed + found == total:
                                break
            return found, missed

        async def all_of_them() -> list[tuple[int, int]]:
            readers = [asyncio.ensure_future(counted()) for _ in range(5)]
            await asyncio.to_thread(until, lambda: there.clients == 10)
            await asyncio.to_thread(there.publish, *events(1, total))
            return await asyncio.gather(*readers)

        for found, missed in asyncio.run(all_of_them()):
            assert (found + missed, found > 0) == (total, True)
        more = iter(range(total + 1, 100 * total, 1_000))
        # Once their buffers are full, those who never read are dropped.
        until(lambda: not there.clients or there.publish(*events(next(more), 1_000)))
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
        assert grown_kb < 60_000, "20,000 events are 5 MB, and each client may hold some hundred kilobytes"
        for connection in deaf:
            connection.close()
