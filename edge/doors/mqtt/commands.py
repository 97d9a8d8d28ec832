"""What others may ask for over a broker: less than over the socket, which is for this machine's user alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from edge.actions import Actions
from edge.doors.mqtt.connection import MOST_BYTES, News
from edge.errors import AffectdError, UsageError, nearest

ALLOWED = ("pause", "resume", "reset_room")
SWITCHED = {b"ON": "resume", b"OFF": "pause"}

logger = logging.getLogger(__name__)


def answer_to(message: News, sources: Mapping[str, str], switched: str | None, actions: Actions) -> dict[str, Any]:
    """Do what a message asks for, and return what to answer: with an ``error`` where that is not possible.

    Args:
        message: a request as JSON, or ``ON`` or ``OFF``.
        sources: id of each source to its name.
        switched: id of the source that it switches; None: it is a request.
        actions: what there is to ask for.
    """
    asked: dict[str, Any] = {}
    try:
        if message.retained:
            raise UsageError("a command that the broker keeps would be done at each start: publish it without retain")
        if len(message.payload) > MOST_BYTES:
            raise UsageError(f"a command has up to {MOST_BYTES:,} bytes")
        request = _request_in(message.payload) if switched is None else _switch_in(message.payload, switched, sources)
        asked = {key: request[key] for key in ("id", "do", "source") if isinstance(request.get(key), (str, int))}
        wanted = request.get("do")
        if not isinstance(wanted, str) or wanted not in ALLOWED:
            close = nearest(wanted, ALLOWED) if isinstance(wanted, str) else ""
            raise UsageError(f"cannot do {str(wanted)[:100]!r}{close}; over MQTT it can do {', '.join(ALLOWED)}")
        return {**asked, "answer": actions[wanted](request)}
    except AffectdError as error:
        return {**asked, "error": str(error), "code": int(error.exit_code)}
    except Exception:
        logger.exception("a command over MQTT failed")
        return {**asked, "error": "it failed; the log of affectd run says why"}


def _switch_in(payload: bytes, source: str, sources: Mapping[str, str]) -> dict[str, Any]:
    if source not in sources:
        raise UsageError(f"there is no source {source!r}{nearest(source, sources)}; there is {', '.join(sources)}")
    if payload not in SWITCHED:
        raise UsageError(f"listening is switched ON or OFF, not {payload[:100].decode(errors='backslashreplace')!r}")
    return {"do": SWITCHED[payload], "source": sources[source]}


def _request_in(payload: bytes) -> dict[str, Any]:
    try:
        request = json.loads(payload)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise UsageError('a request is a JSON object, such as {"do": "pause", "source": "hall"}')
    return request
