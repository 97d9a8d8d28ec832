"""Wyoming's messages: a line of JSON, then data and a payload, each as long as the line says.

They are not read by the package ``wyoming``, which believes any length, and takes what is malformed for the end.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from edge import __version__
from edge.errors import AffectdError
from edge.event import Event

LONGEST_LINE, LONGEST_DATA, LONGEST_PAYLOAD = 1 << 16, 1 << 20, 1 << 22
"""In bytes; audio comes in payloads of a few thousand."""
IN_FRONT = "affectd + "
"""Begins the name of a program that affectd stands before, so that it can be told from the same without it."""


class WyomingError(AffectdError):
    """What a client is told by an ``error`` message, before the connection is closed."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Message:
    """One message; those that were read have all their bytes, too."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""
    raw: bytes = b""

    def packed(self) -> bytes:
        """Return the bytes to send: those that were read, if it was."""
        if self.raw:
            return self.raw
        data = json.dumps(self.data).encode() if self.data else b""
        lengths = {"data_length": len(data), "payload_length": len(self.payload)}
        head = {"type": self.type, **{key: length for key, length in lengths.items() if length}}
        return json.dumps(head).encode() + b"\n" + data + self.payload

    def with_context(self, answer: dict[str, Any] | None) -> Message:
        """Return a transcript whose context has affectd's answer as well."""
        context = self.data.get("context")
        known = context if isinstance(context, dict) else {}
        return Message(self.type, {**self.data, "context": {**known, "affectd": answer}}, self.payload)


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """Wait for a message; None at the end of the connection.

    Raises:
        WyomingError: what comes is no message; nothing after it can be read.
    """
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise _malformed("it ends within a message") from None
    except asyncio.LimitOverrunError:
        raise _malformed(f"its line is longer than {LONGEST_LINE} bytes") from None
    head = _object(line, "its line")
    kind, data = head.get("type"), head.get("data") or {}
    if not isinstance(kind, str) or not isinstance(data, dict):
        raise _malformed("its line has no type, or data that is no object")
    more = await _part(reader, head, "data_length", LONGEST_DATA)
    payload = await _part(reader, head, "payload_length", LONGEST_PAYLOAD)
    return Message(kind, {**data, **_object(more, "its data")} if more else data, payload, line + more + payload)


async def _part(reader: asyncio.StreamReader, head: dict[str, Any], key: str, longest: int) -> bytes:
    length = head.get(key) or 0
    if type(length) is not int or not 0 <= length <= longest:
        raise _malformed(f"its {key} is not from 0 to {longest}")
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise _malformed("it ends within a message") from None


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise _malformed(f"{what} is no JSON") from None
    if not isinstance(found, dict):
        raise _malformed(f"{what} is no JSON object")
    return found


def _malformed(why: str) -> WyomingError:
    return WyomingError("malformed-message", f"this is no message of the Wyoming protocol: {why}")


def error_message(error: WyomingError) -> Message:
    """Return the message that says what is wrong."""
    return Message("error", {"text": str(error), "code": error.code})


def answer_of(event: Event) -> dict[str, Any]:
    """Return what a transcript's context has of an utterance."""
    found = event.to_dict()
    keys = ("speaker", "emotion", "confidence", "needs_review", "scores")
    answer = {key: found[key] for key in keys} | ({"values": found["values"]} if event.values else {})
    return {**answer, "event": event.number}


def own_info() -> Message:
    """Return the description of a service that has no speech-to-text behind it."""
    artifact = {
        "name": "affectd",
        "attribution": {"name": "The affectd authors", "url": ""},
        "installed": True,
        "description": "Who speaks, and how they sound; without words",
        "version": __version__,
    }
    # ISO 639-2 for several languages.
    model = {**artifact, "languages": ["mul"]}
    return Message("info", {"asr": [{**artifact, "models": [model]}]})


def info_in_front(info: Message) -> Message:
    """Return the description of a speech-to-text service with affectd before it."""
    programs = info.data.get("asr")
    if not isinstance(programs, list) or not all(isinstance(program, dict) for program in programs):
        return info
    return Message("info", {**info.data, "asr": [_in_front(program) for program in programs]})


def _in_front(program: dict[str, Any]) -> dict[str, Any]:
    attribution = program.get("attribution")
    known = attribution if isinstance(attribution, dict) else {"name": "", "url": ""}
    description = program.get("description") or program.get("name", "")
    return {
        **program,
        "name": f"{IN_FRONT}{program.get('name', '')}",
        "description": f"{description}, with speaker and emotion by affectd",
        "attribution": {**known, "name": ", ".join(filter(None, (known.get("name"), "affectd")))},
    }


def select_behind(message: Message) -> Message:
    """Return a ``select-program`` as the speech-to-text service knows its program."""
    name = message.data.get("name")
    if not isinstance(name, str) or not name.startswith(IN_FRONT):
        return message
    return Message(message.type, {**message.data, "name": name.removeprefix(IN_FRONT)})
