"""Looking at meters over the web."""

import asyncio
import json
import time

import aiohttp

from edge.meter import Meter
from helpers.web import HANGS_S, Message, Serving, messages, serving, until


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(HANGS_S))


async def _first(there: Serving, count: int) -> list[Message]:
    async with session() as client, client.get(f"{there.url}/live") as response:
        found: list[Message] = []
        async for message in messages(response):
            found.append(message)
            if len(found) == count:
                break
    return found


def test_meters_are_read_only_while_somebody_looks() -> None:
    class Counted(Meter):
        reads = 0

        @property
        def level_dbfs(self) -> float:
            self.reads += 1
            return -30.0 - self.reads

    hall, unheard = Counted(), Counted()
    hall.name, hall.too_short = "hall", 2
    with serving() as there:
        there.door.refresh([hall, unheard])
        assert (hall.reads, there.door.can_refresh) == (0, True)
        first, second = asyncio.run(_first(there, 2))
        assert (first.event, second.event) == ("meters", "meters")
        reading = {"name": "hall", "level_dbfs": -31.0, "hears_voice": False, "is_clipping": False, "too_short": 2}
        assert json.loads(first.data) == [reading]
        assert json.loads(second.data) == [reading | {"level_dbfs": -32.0}]
        until(lambda: not there.clients)
        reads = hall.reads
        time.sleep(0.5)
        assert (hall.reads, unheard.reads) == (reads, 0)


def test_whoever_looks_at_meters_that_stand_still_is_in_nobodys_way() -> None:
    still = Meter()
    still.name = "hall"
    with serving() as there:
        there.door.refresh([still])

        async def look() -> list[int]:
            async with session() as client, client.get(f"{there.url}/live") as looking:
                await asyncio.sleep(0.5)
                async with client.get(f"{there.url}/status") as answer:
                    return [looking.status, answer.status]

        assert asyncio.run(look()) == [200, 200]
