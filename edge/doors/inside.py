"""What a door leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.actions import Actions
from edge.capture import Source
from edge.guided_enrolment import Enough, View
from edge.people.enrolment import Enrolled
from edge.recent import RecentEvents


class Enrol(Protocol):
    """Enrols someone who speaks at a source; see ``People.enrol``."""

    def __call__(
        self, name: str, consent_version: str, may_refine: bool, source: Source, enough: Enough, view: View
    ) -> Enrolled:
        """Listen until it is enough, and return what became of it; on any thread; raises AffectdError."""


@dataclass(frozen=True)
class Inside:
    """What a door leads to."""

    actions: Actions
    """What may be asked for, by name; see ``Daemon.actions``."""
    recent: RecentEvents
    """The latest events."""
    enrol: Enrol | None = None
    """Enrols somebody; None where there is nobody who could be."""
