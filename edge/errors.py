"""One exception root; the command line maps each leaf to an exit code and a one-line message."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TypeVar

Choice = TypeVar("Choice", bound=str)


class ExitCode(IntEnum):
    """How a command ends; ``meaning`` says when."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> ExitCode:
        """Return a code with its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    FINE = 0, "done; of `run`, `enroll` and `profile --attach` also when Ctrl-C ended them"
    FAILED = (
        1,
        "audio that cannot be read, an output that cannot be written (further), as on a full disk, consent or another "
        "question that was refused, nothing to enrol, a `doctor` that found something broken, or a `service status` of "
        "one that does not listen",
    )
    USAGE = 2, "a command, option, setting or file name that is not valid"
    MODEL = 3, "a model that is missing or damaged, or does not run"
    DEVICE = 4, "audio devices"
    STORE = 5, "the speaker store"
    INTERRUPTED = 130, "Ctrl-C"


class AffectdError(Exception):
    """Root of every error raised on purpose. The message says what was wrong, where, and what is allowed."""

    exit_code = ExitCode.FAILED


class UsageError(AffectdError):
    """A command, option or setting that is not valid."""

    exit_code = ExitCode.USAGE


class ModelError(AffectdError):
    """A bundle or model that is missing, damaged or does not keep its contract."""

    exit_code = ExitCode.MODEL


class AudioDeviceError(AffectdError):
    """A microphone or sound system that is absent or failed."""

    exit_code = ExitCode.DEVICE


class StoreError(AffectdError):
    """The speaker store: missing key, damaged file, unknown person."""

    exit_code = ExitCode.STORE


class OutputError(AffectdError):
    """An output that cannot be written (further)."""


class AudioFileError(AffectdError):
    """An audio file or stream that cannot be read."""


def nearest(value: str, allowed: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest allowed word, in any case; empty when none is close.

    Of paths only the last part counts: what they have in common makes none of them close.
    """
    by_name = {os.path.basename(word).casefold(): word for word in allowed if word != value}
    close = difflib.get_close_matches(os.path.basename(value).casefold(), by_name, n=1)
    return f" (did you mean {by_name[close[0]]!r}?)" if close else ""


def printable(text: str) -> str:
    """Return text as one line, whatever is in the name of a file: what cannot be printed is escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def encodable(text: str) -> str:
    r"""Return text that UTF-8 can hold: bytes of a file's name that are none, lone surrogates, as ``\udce9``."""
    return text.encode("utf-8", "backslashreplace").decode()


def one_line(text: str) -> str:
    """Return a message as one line: lines that a library made are joined, and what cannot be printed is escaped."""
    return printable(" ".join(filter(None, map(str.strip, text.splitlines()))))


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


def error_of(code: object, message: str) -> AffectdError:
    """Return the error that another process had, by its exit code; a UsageError where that says nothing."""
    kinds = {int(kind.exit_code): kind for kind in (ModelError, AudioDeviceError, StoreError)}
    kind = kinds.get(code, UsageError) if isinstance(code, int) else UsageError
    return kind(message)
