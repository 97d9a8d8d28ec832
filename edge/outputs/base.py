"""What an output is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from edge.event import Event
from edge.meter import Meter


class Output(Protocol):
    """Where events go. Constructors are cheap and cannot fail; the three methods are called on one thread, in order.

    An error of ``open`` or ``write`` ends the output, unless it is ``Recoverable``.
    """

    name: str
    """What a message about it calls it."""

    def open(self) -> None:
        """Prepare to write."""

    def write(self, event: Event) -> None:
        """Deliver one event before returning."""

    def close(self) -> None:
        """Let go of what ``open`` took; called after an error as well."""


@runtime_checkable
class Recoverable(Output, Protocol):
    """An output that goes on after an error, such as a full disk, once its cause is gone."""

    can_recover: bool
    """It does."""

    def recover(self) -> None:
        """Prepare to write again, after an error of ``write``, what has not been written; raises while it cannot."""


@runtime_checkable
class Patient(Output, Protocol):
    """An output whose ``open`` is tried again after an error, since what it needs may come, such as an address."""

    is_patient: bool
    """It is."""


@runtime_checkable
class Display(Output, Protocol):
    """An output that somebody looks at between events, too."""

    can_refresh: bool
    """Somebody does; otherwise nothing is measured for it."""

    def refresh(self, meters: Sequence[Meter]) -> None:
        """Show what the sources hear now; called on the same thread as ``write``, while no event comes."""


@runtime_checkable
class Lossy(Output, Protocol):
    """An output that loses events by itself, such as one whose reader may be away for long."""

    lost: int
    """How many so far; read by any thread."""
