"""What others may ask of a running affectd, through whichever door: ``{"do": "pause", "source": "hall"}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge.errors import UsageError, nearest

Action = Callable[[Mapping[str, Any]], Any]
"""From the fields of a request to the answer, which is JSON. It may raise an AffectdError. Called on any thread."""

Actions = Mapping[str, Action]
"""By what is to ``do``."""

ENVELOPE = ("do", "id")
"""Keys of a request that are the door's, and may be in any."""
MOST_S = 1e9
"""The longest time that may be asked for, some thirty years."""


def taking(action: Action, *keys: str) -> Action:
    """Return the action for requests with these keys: one that is misspelt would stand for all sources, or for ever.

    It raises UsageError for any other key.
    """

    def checked(request: Mapping[str, Any]) -> Any:
        for key in request:
            if key not in (*keys, *ENVELOPE):
                raise UsageError(f"unknown key {key!r}{nearest(key, keys)}; it takes {', '.join(keys)}")
        return action(request)

    return checked


def source_in(request: Mapping[str, Any]) -> str | None:
    """Return the name of a source, None for all; raises UsageError."""
    source = request.get("source")
    if source is not None and not isinstance(source, str):
        raise UsageError(f"source is the name of one, or null for all, not {source!r}")
    return source


def name_in(request: Mapping[str, Any], key: str) -> str:
    """Return a name that a request has to have; raises UsageError."""
    name = request.get(key)
    if not isinstance(name, str) or not name:
        raise UsageError(f"{key} is a name, not {name!r}")
    return name


def duration_in(request: Mapping[str, Any]) -> float | None:
    """Return a time in seconds, None where there is none; raises UsageError."""
    duration_s = request.get("for_s")
    is_number = isinstance(duration_s, (int, float)) and not isinstance(duration_s, bool)
    if duration_s is not None and not (is_number and 0 < duration_s <= MOST_S):
        raise UsageError(f"for_s is a number of seconds, at most {MOST_S:,.0f}, not {duration_s!r}")
    return duration_s
