"""One exception root; the command line maps each leaf to an exit code and a one-line message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TypeVar

Choice = TypeVar("Choice", bound=str)


class AffectdError(Exception):
    """Root of every error raised on purpose. The message says what was wrong, where, and what is allowed."""

    exit_code = 1


class UsageError(AffectdError):
    """A command, option or setting that is not valid."""

    exit_code = 2


class ModelError(AffectdError):
    """A bundle or model that is missing, damaged or does not keep its contract."""

    exit_code = 3


class AudioDeviceError(AffectdError):
    """A microphone or sound system that is absent or failed."""

    exit_code = 4


class StoreError(AffectdError):
    """The speaker store: missing key, damaged file, unknown person."""

    exit_code = 5


class OutputError(AffectdError):
    """An output that cannot be written (further)."""


class AudioFileError(AffectdError):
    """An audio file or stream that cannot be read."""


def nearest(value: str, allowed: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest allowed word, or an empty string when none is close."""
    close = difflib.get_close_matches(value, list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def printable(text: str) -> str:
    """Return text as one line, whatever is in the name of a file: what cannot be printed is escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def one_of(what: str, value: str, allowed: Sequence[Choice], *others: str) -> Choice:
    """Return a value that is allowed; ``others`` are named along with these, but were dealt with before.

    Raises:
        UsageError: it is not, with what is.
    """
    for each in allowed:
        if each == value:
            return each
    names: list[str] = [*allowed, *others]
    raise UsageError(f"{what} {value!r} is not one of {', '.join(names)}{nearest(value, names)}")
