"""The sealed rows of the store: clips and profiles, each bound to its person, encoder, kind and number."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TypeVar

from edge.errors import StoreError
from edge.people.store.database import DAMAGED
from edge.people.store.person import EnrolledClip, Person, StoredProfile, VoiceRecord
from edge.people.store.vault import Vault

LIMIT_BYTES = 64 * 1024
"""Of one blob as JSON; a profile is meant to be a few kilobytes."""
KINDS: dict[type[VoiceRecord], str] = {EnrolledClip: "clip", StoredProfile: "profile"}
KEY_CHECK = "key check"

Blob = TypeVar("Blob", bound=VoiceRecord)

_OF_A_KIND = "FROM blobs WHERE (person_id, encoder_hash, kind) = (?, ?, ?)"


class Blobs:
    """Seals and unseals rows within the caller's transaction. The key is read when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._vault: Vault | None = None
        self._key_check: bytes | None = None

    def put(self, db: sqlite3.Connection, person: Person, blob: VoiceRecord, keep: int | None = None) -> int:
        """Store a blob and return its number, one more than the last of its kind.

        Args:
            db: a connection within a transaction that writes.
            person: whose it is.
            blob: what to store.
            keep: delete all but so many of the newest of its kind; None keeps all.

        Raises:
            StoreError: it is too big, the person was forgotten meanwhile, or the key is missing or wrong.
        """
        plain = blob.model_dump_json().encode()
        if len(plain) >= LIMIT_BYTES:
            raise StoreError(
                f"a {KINDS[type(blob)]} of {person.name!r} takes {len(plain)} bytes; it must be below {LIMIT_BYTES}"
            )
        if not db.execute("SELECT * FROM people WHERE id = ?", (person.id,)).fetchone():
            raise StoreError(f"{person.name!r} is no longer in {self.path}")
        place = _place(person, blob.encoder_hash, type(blob))
        (last,) = db.execute(f"SELECT coalesce(max(number), 0) {_OF_A_KIND}", place).fetchone()
        number = int(last) + 1
        sealed = self._unlock(db).seal(plain, *place, str(number))
        db.execute("INSERT INTO blobs VALUES (?, ?, ?, ?, ?)", (*place, number, sealed))
        if keep is not None:
            db.execute(f"DELETE {_OF_A_KIND} AND number <= ?", (*place, number - keep))
        return number

    def get(
        self, db: sqlite3.Connection, person: Person, encoder_hash: str, model: type[Blob], limit: int = -1
    ) -> dict[int, Blob]:
        """Return the blobs of one kind by their numbers, newest first.

        Raises:
            StoreError: a blob is damaged or not in its place, or the key is missing or wrong.
        """
        place = _place(person, encoder_hash, model)
        query = f"SELECT number, CAST(sealed AS BLOB) {_OF_A_KIND} ORDER BY number DESC LIMIT ?"
        blobs = {}
        for number, sealed in db.execute(query, (*place, limit)).fetchall():
            plain = self._unlock(db).open(sealed, *place, str(number))
            if plain is None:
                raise StoreError(
                    f"{self.path}: {KINDS[model]} {number} of {person.name!r} is damaged; restore the file from a "
                    f"backup, or forget {person.name!r} and enrol again"
                )
            blobs[number] = model.model_validate_json(plain)
        return blobs

    def drop(self, db: sqlite3.Connection, person: Person, blob: VoiceRecord) -> None:
        """Remove a blob, known by the time of its making; one that is gone already is no error."""
        place = _place(person, blob.encoder_hash, type(blob))
        for number, other in self.get(db, person, blob.encoder_hash, type(blob)).items():
            if other.created_at == blob.created_at:
                db.execute(f"DELETE {_OF_A_KIND} AND number = ?", (*place, number))

    def counts(self, db: sqlite3.Connection, person: Person, model: type[VoiceRecord]) -> dict[str, int]:
        """Return how many blobs of one kind there are from each encoder, by its hash. Needs no key."""
        query = "SELECT encoder_hash, count(*) FROM blobs WHERE (person_id, kind) = (?, ?) GROUP BY 1 ORDER BY 1"
        return dict(db.execute(query, (person.id, KINDS[model])).fetchall())

    def key_origin(self, db: sqlite3.Connection) -> Path | None:
        """Return where the key is; None while there is nothing that it opens.

        Raises:
            StoreError: it is missing or wrong.
        """
        (needed,) = db.execute("SELECT key_check IS NOT NULL OR EXISTS (SELECT * FROM blobs) FROM store").fetchone()
        return self._unlock(db).origin if needed else None

    def _unlock(self, db: sqlite3.Connection) -> Vault:
        query = "SELECT CAST(key_check AS BLOB), EXISTS (SELECT * FROM blobs) FROM store"
        check, in_use = db.execute(query).fetchone()
        if self._vault and check == self._key_check:
            return self._vault
        if check is None and in_use:
            raise StoreError(f"{self.path}: {DAMAGED}")
        vault = Vault.load(self.path.parent, may_create=check is None)
        if check is None:
            check = vault.seal(b"", KEY_CHECK)
            db.execute("UPDATE store SET key_check = ?", (check,))
        elif vault.open(check, KEY_CHECK) is None:
            raise StoreError(f"{vault.origin}: is not the key of {self.path}; put the right key back, nothing is lost")
        self._vault, self._key_check = vault, check
        return vault


def _place(person: Person, encoder_hash: str, model: type[VoiceRecord]) -> tuple[str, str, str]:
    return person.id, encoder_hash, KINDS[model]
