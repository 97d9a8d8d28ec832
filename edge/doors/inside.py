"""What a door leads to."""

from __future__ import annotations

from dataclasses import dataclass

from edge.actions import Actions
from edge.recent import RecentEvents


@dataclass(frozen=True)
class Inside:
    """What a door leads to."""

    actions: Actions
    """What may be asked for, by name; see ``Daemon.actions``."""
    recent: RecentEvents
    """The latest events."""
