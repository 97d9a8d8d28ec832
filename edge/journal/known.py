"""Who is enrolled, as a journal must know it while it writes: by id, and without those who were forgotten."""

from __future__ import annotations

from edge.people.store import SpeakerStore


class KnownPeople:
    """The ids behind the names in events, which may be a moment old: a new name is followed, and an old one known."""

    def __init__(self, store: SpeakerStore) -> None:
        self._store = store
        self._version = -1
        self._ids: dict[str, str] = {}
        """Of every name that anybody has had since the first call."""
        self._enrolled: frozenset[str] = frozenset()

    def id_of(self, name: str) -> str | None:
        """Return the id of the person who has this name, or has had it; None: they were forgotten.

        Raises:
            StoreError: the speaker store cannot be read.
        """
        version = self._store.version()
        if version != self._version:
            people = self._store.people()
            self._ids |= {person.name: person.id for person in people}
            self._enrolled = frozenset(person.id for person in people)
            self._version = version
        person_id = self._ids.get(name)
        return person_id if person_id in self._enrolled else None
