"""What a check of ``affectd doctor`` comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from edge.errors import AffectdError, one_line, printable


class Verdict(str, Enum):
    """What a check came to."""

    GOOD = "good"
    ABSENT = "absent"
    """Not there, and only some uses need it."""
    BROKEN = "broken"


@dataclass(frozen=True)
class Check:
    """One line of the diagnosis."""

    name: str
    verdict: Verdict
    found: str


def attempt(name: str, try_out: Callable[[], str], otherwise: Verdict = Verdict.BROKEN) -> Check:
    """Return what came of trying something out, which says what it has found, or raises what is wrong."""
    try:
        return Check(name, Verdict.GOOD, printable(try_out()))
    except (AffectdError, ImportError, OSError) as error:
        return Check(name, otherwise, one_line(str(error)))
