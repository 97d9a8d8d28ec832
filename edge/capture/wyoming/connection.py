"""One client of a Wyoming address, and the speech-to-text behind it: everything is passed on, and something added."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from edge.capture.address import Address
from edge.capture.wyoming.messages import (
    Message,
    WyomingError,
    error_message,
    info_in_front,
    own_info,
    read_message,
    select_behind,
)
from edge.capture.wyoming.transport import closed, connected, first_of, part
from edge.capture.wyoming.turn import Chunk, Turn
from edge.errors import printable

DESCRIBE_S = 10.0
ANSWER_S = 60.0
"""From the end of the audio, or a part of a transcript, to what follows."""
SEND_S = 10.0
"""The speech-to-text may take no audio for so long."""
IDLE_S = 300.0
"""A client may send nothing for so long."""
ANSWERS = {"info": "describe", "transcript": "transcribe"}
"""What ends the wait for what was asked."""

logger = logging.getLogger(__name__)


class Connection:
    """A client, with a connection of its own to the speech-to-text."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: Address | None,
        take: Callable[[Turn], str],
        queue_s: float,
    ) -> None:
        """Prepare; see ``WyomingServer``."""
        self._reader, self._writer, self._upstream = reader, writer, upstream
        self._take, self._queue_s = take, queue_s
        peer = writer.get_extra_info("peername")
        self._who = f"{peer[0]}:{peer[1]}" if peer else "somebody"
        self._behind: asyncio.StreamWriter | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        """What was asked for and is not answered."""
        self._settled = asyncio.Event()
        """Everything is answered."""
        self._settled.set()
        self._audio: Literal["none", "asked", "comes", "complete", "answered"] = "none"
        self._turn: Turn | None = None
        """The latest that is heard."""
        self._language: object = None

    async def run(self) -> None:
        """Serve the client until it leaves, or there is nothing more to say."""
        try:
            await first_of(self._failed, self._serve())
        except WyomingError as error:
            level = logging.WARNING if error.code.startswith("upstream") else logging.INFO
            logger.log(level, "%s: %s", self._who, error)
            self._send(error_message(error))
        except OSError:  # the client is gone
            pass
        except Exception as error:
            logger.warning("%s: a client of voice assistants", self._who, exc_info=True)
            self._send(error_message(WyomingError("internal", f"affectd failed: {error!r}")))
        finally:
            self._end_turn()
            self._answered(*ANSWERS)
            behind = [closed(self._behind)] if self._behind else []
            await asyncio.gather(part(self._reader, self._writer), *behind)

    def fail(self, error: WyomingError) -> None:
        """End with an error."""
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _serve(self) -> None:
        first = await self._next()
        if first is None:
            return
        if self._upstream is None:
            await self._from_client(first)
            return
        reader, self._behind = await connected(self._upstream)
        await first_of(self._from_client(first), self._from_behind(reader))

    async def _next(self) -> Message | None:
        with self._within(IDLE_S, WyomingError("idle", f"nothing came for {IDLE_S:g} s")):
            return await read_message(self._reader)

    @contextmanager
    def _within(self, longest_s: float, error: WyomingError) -> Iterator[None]:
        """End with an error unless something is done within a time; quicker than a task for each message."""
        alarm = asyncio.get_running_loop().call_later(longest_s, self.fail, error)
        try:
            yield
        finally:
            alarm.cancel()

    async def _from_client(self, first: Message) -> None:
        """Take what the client sends, to its end, and if it waits for an answer, until it has that."""
        message: Message | None = first
        while message:
            await self._take_message(message)
            message = await self._next()
        self._end_turn()
        await self._settled.wait()

    async def _take_message(self, message: Message) -> None:
        kind = message.type
        if kind == "ping":
            await self._say(Message("pong", message.data))
            return
        chunk = _chunk(message) if kind == "audio-chunk" else None
        if self._behind:
            await self._pass_on(self._behind, select_behind(message) if kind == "select-program" else message)
        if kind == "describe":
            await self._asked("info", DESCRIBE_S)
        elif kind == "transcribe":
            self._end_turn()
            self._audio, self._language = "asked", message.data.get("language")
        elif kind == "audio-start":
            self._begin_turn()
        elif kind == "audio-stop":
            self._end_turn()
            if self._audio != "answered":
                self._audio = "complete"
                await self._asked("transcript", ANSWER_S)
        elif chunk:
            if self._audio in ("none", "asked"):
                self._begin_turn()
            await self._hear(chunk)

    async def _hear(self, chunk: Chunk) -> None:
        turn = self._turn
        if turn and turn.ended_at_s is None:
            if chunk.is_usual:
                await turn.put(chunk)
            else:
                logger.warning("%s: %s is nothing that could be heard", self._who, chunk.format)
                turn.give_up()

    async def _pass_on(self, behind: asyncio.StreamWriter, message: Message) -> None:
        """Send to the speech-to-text; one that is gone is noticed by who reads from it."""
        text = f"the speech-to-text at {self._upstream} takes nothing for {SEND_S:g} s"
        with suppress(OSError), self._within(SEND_S, WyomingError("upstream-timeout", text)):
            behind.write(message.packed())
            await behind.drain()

    async def _asked(self, answer: str, longest_s: float) -> None:
        """Let an answer come within a time; without speech-to-text it is affectd's own."""
        if self._behind:
            self._answered(answer)
            text = f"the speech-to-text at {self._upstream} does not answer {ANSWERS[answer]} in {longest_s:g} s"
            error = WyomingError("upstream-timeout", text)
            self._alarms[answer] = asyncio.get_running_loop().call_later(longest_s, self.fail, error)
            self._settled.clear()
        elif answer == "info":
            await self._say(own_info())
        else:
            data = {"text": ""} | ({"language": self._language} if isinstance(self._language, str) else {})
            await self._say(Message("transcript", data).with_context(await self._answer()))

    def _answered(self, *answers: str) -> None:
        for answer in answers:
            if alarm := self._alarms.pop(answer, None):
                alarm.cancel()
        if not self._alarms:
            self._settled.set()

    async def _from_behind(self, reader: asyncio.StreamReader) -> None:
        """Pass on what the speech-to-text says, and what affectd has to add."""
        while message := await self._heard_behind(reader):
            await self._say(await self._with_answer(message))
        if self._alarms or self._audio in ("asked", "comes"):
            raise WyomingError("upstream-closed", f"the speech-to-text at {self._upstream} closed the connection")

    async def _heard_behind(self, reader: asyncio.StreamReader) -> Message | None:
        try:
            return await read_message(reader)
        except WyomingError as error:
            text = f"the speech-to-text at {self._upstream} is none: {error}"
            raise WyomingError("upstream-malformed", text) from None
        except OSError:  # reset, or unreachable meanwhile
            return None

    async def _with_answer(self, message: Message) -> Message:
        kind = message.type
        if kind == "info":
            message = info_in_front(message)
        elif kind == "transcript" or (kind == "transcript-start" and self._audio == "complete"):
            message = message.with_context(await self._answer())
        if kind == "transcript-chunk" and "transcript" in self._alarms:
            await self._asked("transcript", ANSWER_S)
        if kind in ("transcript", "error"):
            self._end_turn()
            self._audio = "answered"
        self._answered(*(ANSWERS if kind == "error" else (kind,)))
        return message

    def _begin_turn(self) -> None:
        self._end_turn()
        self._audio = "comes"
        turn = Turn(self._who, self._queue_s, self._send)
        why = self._take(turn)
        if why:
            logger.warning("%s gets a transcript without speaker and emotion: %s", self._who, why)
        self._turn = None if why else turn

    def _end_turn(self) -> None:
        if self._turn:
            self._turn.end()

    async def _answer(self) -> dict[str, Any] | None:
        return await self._turn.answer() if self._turn else None

    def _send(self, message: Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(message.packed())

    async def _say(self, message: Message) -> None:
        self._send(message)
        await self._writer.drain()


def _chunk(message: Message) -> Chunk:
    """Return the audio of a message; raises WyomingError."""
    rate, width, channels = (message.data.get(key) for key in ("rate", "width", "channels"))
    if not (type(rate) is type(width) is type(channels) is int and min(rate, width, channels) > 0):
        found = printable(f"{rate}, {width}, {channels}")[:100]
        raise WyomingError("malformed-message", f"audio-chunk: rate, width and channels are {found}")
    return Chunk(rate, width, channels, message.payload)
