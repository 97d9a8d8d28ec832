"""A journal, for `affectd history`."""

from __future__ import annotations

from pathlib import Path

from edge.event import Event
from edge.journal import Journal
from edge.journal.known import KnownPeople
from edge.people.store import SpeakerStore


class JournalOutput:
    """A row for each ``utterance``, ``skipped``, ``status`` and ``error``; on the disk when ``write`` returns."""

    name = "journal"
    can_recover = True

    def __init__(self, path: Path, store_folder: Path | None, days: int) -> None:
        """Prepare.

        Args:
            path: of the file.
            store_folder: of the speaker store, whose key seals the rows; None is the user's data folder.
            days: for which rows are kept.
        """
        self._journal = Journal(path)
        self._store_folder, self._days = store_folder, days
        self._store: SpeakerStore | None = None

    def open(self) -> None:
        """Create the file if there is none, and delete what is too old.

        Raises:
            OutputError: it is damaged, or cannot be written.
            UsageError: it is no journal.
            StoreError: the speaker store or its key cannot be read.
        """
        self._store = SpeakerStore.open(self._store_folder, readonly=True)
        self._known, self._vault = KnownPeople(self._store), self._store.vault()
        self._journal.expire(self._days)

    def write(self, event: Event) -> None:
        """Write a row; raises OutputError or StoreError if that is not possible."""
        self._journal.add(event, self._known, self._vault, self._days)

    def recover(self) -> None:
        """Open the file anew, to which a row was added as a whole or not at all."""
        self._journal.close()

    def close(self) -> None:
        """Close the files."""
        self._journal.close()
        if self._store:
            self._store.close()
