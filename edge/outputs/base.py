"""What an output is."""

from __future__ import annotations

from typing import Protocol

from edge.event import Event


class Output(Protocol):
    """Where events go. Constructors are cheap and cannot fail; the three methods are called on one thread, in order.

    An error of ``open`` or ``write`` ends the output: one that can recover, as from a lost connection, does so itself.
    """

    name: str
    """What a message about it calls it."""

    def open(self) -> None:
        """Prepare to write."""

    def write(self, event: Event) -> None:
        """Deliver one event before returning."""

    def close(self) -> None:
        """Let go of what ``open`` took; called after an error as well."""
