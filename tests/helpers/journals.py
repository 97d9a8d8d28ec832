"""A journal with known rows, and a machine whose clock jumps."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from edge.event import Event, SpeakerMatch, StatusReason
from edge.journal import Journal
from edge.journal.clock import Clock
from edge.journal.known import KnownPeople
from edge.people.store import SpeakerStore
from helpers.voices import CONSENT

LABELS = ("neutral", "happy", "angry")
NOON = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)


class Machine:
    """Time that passes only when a test says so: ``true_s`` is what no clock of the machine knows."""

    def __init__(self, now: datetime = NOON) -> None:
        self.true_s = now.timestamp()
        self.wrong_s = 0.0
        """What the wall clock is ahead."""
        self._booted_s, self._boots = self.true_s, 0

    @property
    def clock(self) -> Clock:
        """The clock of the present boot."""
        booted_s = self._booted_s
        return Clock(lambda: self.true_s + self.wrong_s, lambda: self.true_s - booted_s, f"boot {self._boots}")

    def wait(self, **duration: float) -> None:
        """Let time pass."""
        self.true_s += timedelta(**duration).total_seconds()

    def reboot(self) -> None:
        """Start again; the wall clock goes on."""
        self._booted_s, self._boots = self.true_s, self._boots + 1

    def set_year(self, year: int) -> None:
        """Let the wall clock jump to a wrong year."""
        self.wrong_s = datetime(year, 1, 1, tzinfo=timezone.utc).timestamp() - self.true_s

    def now(self) -> datetime:
        """Return what the wall clock says."""
        return datetime.fromtimestamp(self.true_s + self.wrong_s, timezone.utc)


def said(emotion: str, name: str | None = None, at: datetime = NOON, source: str = "kitchen", **more: object) -> Event:
    """Return an ``utterance`` event."""
    values = {
        "emotion": emotion,
        "confidence": 0.6,
        "scores": {label: 0.6 if label == emotion else 0.2 for label in LABELS},
        "speaker": SpeakerMatch(name, 0.9) if name else None,
        "start_s": 1.0,
        "end_s": 3.5,
    }
    return Event("utterance", source, at.isoformat(timespec="milliseconds"), id=1, **(values | more))  # type: ignore[arg-type]


def became(reason: StatusReason, at: datetime = NOON, source: str = "kitchen") -> Event:
    """Return a ``status`` event."""
    return Event("status", source, at.isoformat(timespec="milliseconds"), reason=reason, message="said for people")


def enrolled(folder: Path, *names: str) -> dict[str, str]:
    """Add people without voices to a store, and return their ids by name."""
    with SpeakerStore.open(folder) as store:
        return {name: store.add_person(name, CONSENT).id for name in names}


class Writer:
    """A journal that is written to, in the folder of a speaker store."""

    def __init__(self, folder: Path, clock: Clock | None = None, days: int = 30) -> None:
        self.store = SpeakerStore.open(folder, readonly=True)
        self.journal = Journal(folder / "journal.db", clock)
        self.known, self.vault, self._days = KnownPeople(self.store), self.store.vault(), days

    def add(self, *events: Event) -> None:
        """Write rows."""
        for event in events:
            self.journal.add(event, self.known, self.vault, self._days)

    def close(self) -> None:
        """Close the files."""
        self.journal.close()
        self.store.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
