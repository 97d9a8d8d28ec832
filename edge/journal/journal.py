"""The journal: utterances, and why there are none, in the order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.errors import OutputError, printable
from edge.event import Event
from edge.journal.clock import HOUR_MS, Clock, expire, follow
from edge.journal.entry import UTTERANCE, Answer, Entry
from edge.journal.file import JournalFile
from edge.journal.known import KnownPeople
from edge.people.store.vault import Vault

KEPT = frozenset({"utterance", "skipped", "status", "error"})
"""Types of events that become rows."""


@dataclass(frozen=True)
class Extent:
    """What a journal holds."""

    rows: int
    first: datetime | None
    last: datetime | None


class Journal:
    """The rows of one file, for one thread. The constructor is cheap; the file appears when it is first written.

    Who spoke is kept by their id in the speaker store, and how it sounded is sealed with that store's key. Every method
    raises OutputError, with the file and a remedy, when the file is damaged or cannot be read or written, and
    UsageError when it is no journal.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        """Prepare; ``clock`` is the machine's unless given."""
        self.path = path.resolve()  # a link may lead to where there is none yet
        self._file = JournalFile(self.path)
        self._clock = clock or Clock()
        self._expired_s: float | None = None
        """When rows were last looked at for their age, by the time since the machine's boot."""

    def close(self) -> None:
        """Release the file; the next use opens it again."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def expire(self, days: int) -> None:
        """Delete what is older than ``days``, if the clock can be believed, see ``edge.journal.clock``."""
        with self._file.writing() as db:
            expire(db, follow(db, self._clock), days)
        self._expired_s = self._clock.uptime_s()

    def add(self, event: Event, known: KnownPeople, vault: Vault, days: int) -> None:
        """Add a row for an event, unless it is of a kind that is not kept, or of somebody who was forgotten.

        Once an hour what is older than ``days`` is deleted.

        Raises:
            StoreError: the speaker store cannot be read.
        """
        if event.type not in KEPT:
            return
        if self._expired_s is None or (self._clock.uptime_s() - self._expired_s) * 1e3 >= HOUR_MS:
            self.expire(days)
        with self._file.writing() as db:
            # Within the transaction: whoever is forgotten now is gone already, or this row goes with the others.
            person = known.id_of(event.speaker.name) if event.speaker else None
            if event.speaker and person is None:
                return
            source, sealed = printable(event.source), None
            if event.type == "utterance":
                sealed = vault.seal(Answer.of(event).to_json(), *_context(source, person))
            fact = UTTERANCE if event.type == "utterance" else event.reason or event.type
            time_ms = round(datetime.fromisoformat(event.time).timestamp() * 1e3)
            row = (follow(db, self._clock).number, time_ms, source, fact, person, sealed)
            db.execute("INSERT INTO events VALUES (NULL, ?, ?, ?, ?, ?, ?)", row)

    def entries(
        self,
        vault: Callable[[], Vault],
        since: datetime | None = None,
        until: datetime | None = None,
        person: str | None = None,
        source: str | None = None,
    ) -> Iterator[Entry]:
        """Yield the rows in the order of time.

        Args:
            vault: returns that with the key of the speaker store; called where there is something to open.
            since: the first moment; None is the earliest there is.
            until: the first moment that is too late; None is none.
            person: id of the only one whose utterances are wanted.
            source: name of the only one that is wanted.
        """
        where, values = _where(since, until, person, source)
        query = f"SELECT time_ms, source, fact, person, CAST(answer AS BLOB) FROM events{where} ORDER BY time_ms, id"
        with self._file.reading() as db:
            for time_ms, name, fact, person_id, sealed in db.execute(query, values):
                plain = vault().open(sealed, *_context(name, person_id)) if sealed else None
                answer = Answer.from_json(plain) if plain else None
                yield Entry(_local(time_ms), name, fact, person_id, answer)

    def extent(self, person: str | None = None) -> Extent:
        """Return how much there is, of one person by their id or of everyone."""
        where, values = _where(person=person)
        with self._file.reading() as db:
            query = f"SELECT count(*), min(time_ms), max(time_ms) FROM events{where}"
            rows, first_ms, last_ms = db.execute(query, values).fetchone()
        first, last = (None if time_ms is None else _local(time_ms) for time_ms in (first_ms, last_ms))
        return Extent(rows, first, last)

    def people(self) -> list[str]:
        """Return the ids of all who are in it."""
        with self._file.reading() as db:
            return [person for (person,) in db.execute("SELECT DISTINCT person FROM events WHERE person IS NOT NULL")]

    def delete(self, before: datetime | None = None, person: str | None = None) -> int:
        """Delete rows for good, without the key, and return how many there were; without arguments all of them.

        Args:
            before: only those from before this moment.
            person: only those of the person with this id.

        Raises:
            OutputError: as always; or they are deleted, but traces stay until the journal is next opened.
        """
        if not self.path.exists():
            return 0
        where, values = _where(until=before, person=person)
        with self._file.writing() as db:
            count = db.execute(f"DELETE FROM events{where}", values).rowcount
            if count:
                db.execute("UPDATE journal SET traces = 1")
        if count and not self._file.scrub():
            raise OutputError(
                f"{self.path}: {count} rows are deleted, but it still holds traces of them, as another process is "
                "reading it or the disk is full; they go when it is next opened"
            )
        return count


def _where(
    since: datetime | None = None,
    until: datetime | None = None,
    person: str | None = None,
    source: str | None = None,
) -> tuple[str, list[object]]:
    """Return the condition in SQL, and its values."""
    found = {
        "time_ms >= ?": since and _ms(since),
        "time_ms < ?": until and _ms(until),
        "person = ?": person,
        "source = ?": source and printable(source),
    }
    conditions = {condition: value for condition, value in found.items() if value is not None}
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), list(conditions.values())


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1e3)


def _local(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1e3).astimezone()


def _context(source: str, person: str | None) -> tuple[str, ...]:
    """Return what an answer is bound to: attributed to anybody else it does not open."""
    return "journal", source, person or ""
