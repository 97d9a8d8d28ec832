"""What a door leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.actions import Actions
from edge.capture import Source
from edge.guided_enrolment import Enough, View
from edge.people.enrolment import Enrolled
from edge.recent import RecentEvents


class PeopleInside(Protocol):
    """Who is enrolled, and to forget or enrol somebody; for doors that are let in to that."""

    actions: Actions
    """``people``, ``consent`` and ``forget``, see ``edge.daemon.people.People``."""

    def enrol(
        self, name: str, consent_version: str, may_refine: bool, source: Source, enough: Enough, view: View
    ) -> Enrolled:
        """Listen to someone until it is enough, and return what became of it; on any thread; raises AffectdError."""


@dataclass(frozen=True)
class Inside:
    """What a door leads to."""

    actions: Actions
    """What may be asked for, by name; see ``Daemon.actions``."""
    recent: RecentEvents
    """The latest events."""
    people: PeopleInside | None = None
    """Those who are enrolled; None where there is nobody who could be."""
