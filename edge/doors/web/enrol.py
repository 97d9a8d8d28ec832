"""``/enrol``: a WebSocket over which somebody enrols by speaking, into the microphone of their browser."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from queue import Queue
from threading import Event
from typing import Any

from aiohttp import WSMsgType, web

from edge.audio import Waveform
from edge.capture import Block
from edge.capture.base import blocks_of
from edge.capture.messages import KEYS, Converter, MessageStream, check_query, converter
from edge.decoding import raw_stream
from edge.doors.inside import PeopleInside
from edge.errors import AffectdError, UsageError
from edge.guided_enrolment import Enough, outcome
from edge.meter import Meter
from edge.people.enrolment import Take
from edge.people.prompts import PROMPTS
from edge.people.quality import recording_doubts

NAME = "dashboard"
"""Of the source, where a message says what was left out."""
FINISH = "finish"
"""The text by which a client says that this is all."""
LEVEL_S = 0.1
"""From one reading of the meter to the next."""
LONGEST_MESSAGE = 1 << 20
MOST_WAITING = 64
"""Messages of a client that sends faster than its audio is heard; it is held back beyond that."""
ALIVE_S = 10.0
"""A client that does not answer a ping in this time is gone."""

Say = Callable[[Mapping[str, Any]], None]


class EnrolRoute:
    """Lets people enrol, one at a time. Messages to a client are JSON objects with a ``type``.

    ``ready``: speak now, with how much is ``wanted`` and ``prompts`` to read; ``level``: what is heard now; ``take``:
    what became of an utterance; ``result``: the end; ``error``: the end, too, and why.
    """

    def __init__(self, people: PeopleInside) -> None:
        self._people = people
        self._pool = ThreadPoolExecutor(1, "enrolment")
        self._is_busy = False

    async def get(self, request: web.Request) -> web.WebSocketResponse:
        """Listen to a client until there is enough, or it says that this is all, or leaves."""
        socket = web.WebSocketResponse(max_msg_size=LONGEST_MESSAGE, heartbeat=ALIVE_S)
        await socket.prepare(request)
        try:
            if self._is_busy:
                raise UsageError("somebody else is enrolling at this moment: wait until they are done")
            source = _source(request.query)
        except UsageError as error:
            # A browser does not show its page how a handshake was refused.
            await socket.send_json({"type": "error", "error": str(error)})
            await socket.close()
            return socket
        self._is_busy = True
        try:
            await self._converse(socket, request.query, source)
        finally:
            self._is_busy = False
        return socket

    async def _converse(self, socket: web.WebSocketResponse, query: Mapping[str, str], source: BrowserSource) -> None:
        loop = asyncio.get_running_loop()
        outbox: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()

        def say(message: Mapping[str, Any] | None) -> None:
            with suppress(RuntimeError):  # the server has ended; what was said is kept nevertheless
                loop.call_soon_threadsafe(outbox.put_nowait, message)

        def work() -> None:
            try:
                self._work(query, source, say)
            finally:
                say(None)

        hearing = asyncio.create_task(_hear(socket, source))
        working = loop.run_in_executor(self._pool, work)
        try:
            while (message := await outbox.get()) is not None:
                await socket.send_json(message)
            await working
            await socket.close()
        finally:
            source.finish()
            hearing.cancel()

    def _work(self, query: Mapping[str, str], source: BrowserSource, say: Say) -> None:
        enough = Enough()
        try:
            say({"type": "ready", "wanted": asdict(enough), "prompts": PROMPTS})
            name, consent, may_refine = (
                query.get("name", ""),
                query.get("consent", ""),
                query.get("may_refine") == "true",
            )
            enrolled = self._people.enrol(name, consent, may_refine, source, enough, _Progress(say))
            say({"type": "result", **asdict(enrolled)})
        except AffectdError as error:
            say({"type": "error", "error": str(error)})


class BrowserSource:
    """What a client sends, as a source."""

    name = NAME
    can_wait = True

    def __init__(self, rate_hz: int, convert: Converter) -> None:
        self._rate_hz, self._convert = rate_hz, convert
        self._messages: Queue[bytes | None] = Queue()
        self._closed = Event()

    async def put(self, message: bytes) -> None:
        """Take a message, once there is room for it."""
        while self._messages.qsize() >= MOST_WAITING and not self._closed.is_set():
            await asyncio.sleep(LEVEL_S)
        self._messages.put(message)

    def finish(self) -> None:
        """Nothing more comes."""
        self._messages.put(None)

    def blocks(self) -> Iterator[Block]:
        """Yield what was said."""
        reader = raw_stream(MessageStream(self._next, self._convert), self.name, self._rate_hz)
        return blocks_of(reader, self._closed, lambda _: None)

    def close(self) -> None:
        """Leave the rest."""
        self._closed.set()
        self.finish()

    def _next(self) -> bytes | None:
        message = self._messages.get()
        if message is None:
            self.finish()  # at the end it is asked again
        return message


class _Progress:
    """Tells a client what is heard."""

    def __init__(self, say: Say) -> None:
        self._say, self._meter, self._said_at_s = say, Meter(), 0.0
        self._clips, self._speech_s = 0, 0.0

    def follow(self, samples: Waveform, voiced: bool) -> None:
        """Show the level, now and then."""
        self._meter.follow(samples, voiced)
        if time.monotonic() - self._said_at_s >= LEVEL_S:
            self._said_at_s = time.monotonic()
            meter = self._meter
            level = {"level_dbfs": round(meter.level_dbfs, 1), "is_clipping": meter.is_clipping}
            self._say({"type": "level", **level, "hears_voice": meter.hears_voice})

    def show(self, take: Take) -> None:
        """Show what became of an utterance, and how much there is by now."""
        is_kept = take.fault is None
        self._clips += is_kept
        self._speech_s += take.duration_s if is_kept else 0.0
        doubts = recording_doubts([take.sound])
        so_far = {"clips": self._clips, "speech_s": round(self._speech_s, 2)}
        self._say({"type": "take", "is_kept": is_kept, "outcome": outcome(take), "doubts": doubts, **so_far})


def _source(query: Mapping[str, str]) -> BrowserSource:
    """Return the source of a client that says what it sends; raises UsageError."""
    audio = {key: query[key] for key in KEYS if key in query}
    check_query(audio)
    return BrowserSource(int(audio.get("rate", "16000")), converter(audio))


async def _hear(socket: web.WebSocketResponse, source: BrowserSource) -> None:
    """Hand over what a client sends, until it is done or leaves."""
    try:
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                await source.put(message.data)
            elif message.type == WSMsgType.TEXT and message.data == FINISH:
                source.finish()
    finally:
        source.finish()
