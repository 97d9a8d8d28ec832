"""Forgetting somebody: every trace of them in the store, in the journals and in the rooms. Needs no onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass

from edge.errors import OutputError, UsageError
from edge.journal import Journal, journal_paths
from edge.people.store import SpeakerStore
from edge.people.store.person import Person
from edge.room_store import RoomStore
from edge.settings import Settings


@dataclass(frozen=True)
class Forgotten:
    """What was removed."""

    name: str
    """As it was in the store."""
    rooms: int
    """All that were remembered: they are averages of whoever spoke there, named or not."""
    journal: int
    """Utterances in the journals."""

    def __str__(self) -> str:
        text = f"{self.name} is forgotten"
        said = "is 1 utterance" if self.journal == 1 else f"are {self.journal} utterances"
        text += f", and so {said} in the journal" if self.journal else ""
        return text + (", and so are all rooms, where they may have been heard" if self.rooms else "")


def forget(store: SpeakerStore, person: Person, settings: Settings) -> Forgotten:
    """Remove someone and every trace of them, which a running affectd follows.

    The journals are that of the settings and that beside the store.

    Raises:
        StoreError: the store cannot be written.
        OutputError: they are forgotten, but not in a journal.
    """
    try:
        store.forget(person.name)
    finally:
        rooms = RoomStore(settings).clear()
        rows = _forget_in_journals(person, settings)
    return Forgotten(person.name, rooms, rows)


def _forget_in_journals(person: Person, settings: Settings) -> int:
    """Delete all that someone said from the journals, and return how many utterances that were.

    Raises:
        OutputError: it is still there, or traces of it.
    """
    rows, failures = 0, []
    for path in journal_paths(settings.outputs, settings.speakers.store_folder):
        try:
            with Journal(path) as journal:
                rows += journal.delete(person=person.id)
        except OutputError as error:
            failures.append(f"{error}; then `affectd history clear --journal {path} --person {person.id}`")
        except UsageError:
            pass  # it is of another program, so nobody is in it
    if failures:
        raise OutputError(f"{person.name} is forgotten, but not in the journal: {'; '.join(failures)}")
    return rows
