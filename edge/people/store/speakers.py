"""The speaker store: people who agreed, their enrolled clips and voice profiles. No audio is in it.

``speakers.db`` (SQLite, WAL) and ``store.key`` lie in one folder. What is derived from a voice is sealed by the vault;
names and consents are not, because listing and forgetting must work without the key.
"""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from pathlib import Path
from typing import Any

from edge.errors import StoreError, nearest
from edge.folders import data_folder
from edge.people.store.blobs import KINDS, Blobs
from edge.people.store.database import DAMAGED, Database
from edge.people.store.exchange import Belongings, read_export, write_export
from edge.people.store.person import Consent, EnrolledClip, Person, StoredProfile, clean_name, fold_name, now
from edge.people.store.vault import Vault

DATABASE_NAME = "speakers.db"
KEPT_REVISIONS = 10


class SpeakerStore:
    """People, their enrolled clips and their voice profiles, for one thread at a time.

    Every change is on the disk when its method returns, and seen by other processes. Every method raises StoreError,
    with the file and a remedy, when the store is damaged or cannot be read or written, or its key is not the right one.
    """

    def __init__(self, folder: Path, readonly: bool = False) -> None:
        self.path = folder / DATABASE_NAME
        self._database = Database(self.path, readonly)
        self._blobs = Blobs(self.path)

    @classmethod
    def open(cls, folder: Path | None = None, readonly: bool = False) -> SpeakerStore:
        """Open and verify a store; one that does not exist is empty and appears with the first person.

        Args:
            folder: None is the user's data folder.
            readonly: refuse every change.
        """
        store = cls(data_folder() if folder is None else folder, readonly)
        store.version()
        return store

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    def __enter__(self) -> SpeakerStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def version(self) -> int:
        """Return a number that grows with every change by any process; reading it takes microseconds."""
        with self._database.reading() as db:
            return int(db.execute("SELECT version FROM store").fetchone()[0])

    def key_origin(self) -> Path | None:
        """Return the file of the key, which is the right one; None while there is nothing that it opens."""
        with self._database.reading() as db:
            return self._blobs.key_origin(db)

    def vault(self) -> Vault:
        """Return what seals, with the store's key, what is kept beside it; made where nothing needs another."""
        is_needed = self.key_origin() is not None
        try:
            return Vault.load(self.path.parent, may_create=not is_needed)
        except OSError as error:
            raise StoreError(f"{self.path.parent}: {error.strerror}; the key of the store cannot be made") from None

    def people(self) -> list[Person]:
        """Return everyone, by name."""
        with self._database.reading() as db:
            return self._people(db)

    def find(self, name: str) -> Person | None:
        """Return the person with this name, in any case; None if nobody has it."""
        with self._database.reading() as db:
            return self._find(db, name)

    def person(self, name: str) -> Person:
        """Return the person with this name, in any case.

        Raises:
            StoreError: nobody has it; the message names the nearest.
        """
        with self._database.reading() as db:
            return self._person(db, name)

    def add_person(self, name: str, consent: Consent, may_refine: bool = False) -> Person:
        """Add someone who has agreed; nothing of a voice can be stored before.

        Raises:
            UsageError: the name is not allowed.
            StoreError: the name is taken.
        """
        person = Person(name=clean_name(name), consent=consent, may_refine=may_refine)
        with self._database.writing() as db:
            self._write(db, person)
        return person

    def rename(self, name: str, new_name: str) -> Person:
        """Give someone another name; errors are those of ``person`` and ``add_person``."""
        return self._update(name, {"name": clean_name(new_name)})

    def allow_refinement(self, name: str, allowed: bool) -> Person:
        """Record whether someone agrees that their profile is refined while running."""
        return self._update(name, {"may_refine": allowed})

    def forget(self, name: str) -> None:
        """Remove someone, and every trace of them from the store's files. Needs no key.

        Raises:
            StoreError: nobody has the name; or they are removed, but traces stay until the store is next opened.
        """
        with self._database.writing() as db:
            if not db.execute("DELETE FROM people WHERE folded_name = ?", (fold_name(name),)).rowcount:
                self._person(db, name)
            # With the last person the key loses its purpose, so that a lost one can be replaced.
            db.execute("UPDATE store SET traces = 1")
            db.execute("UPDATE store SET key_check = NULL WHERE NOT EXISTS (SELECT * FROM people)")
        if not self._database.scrub():
            raise StoreError(
                f"{name!r} is forgotten, but {self.path} still holds traces, as another process is reading it or the "
                f"disk is full; they go when the store is next opened"
            )

    def add_clip(self, person: Person, clip: EnrolledClip, instead_of: EnrolledClip | None = None) -> None:
        """Store one clip, in one step with the removal of another.

        Raises:
            StoreError: the person was forgotten meanwhile.
        """
        with self._database.writing() as db:
            self._blobs.put(db, person, clip)
            if instead_of:
                self._blobs.drop(db, person, instead_of)

    def clips(self, person: Person, encoder_hash: str) -> list[EnrolledClip]:
        """Return the clips embedded by this encoder, in the order of their enrolment."""
        with self._database.reading() as db:
            return self._clips(db, person, encoder_hash)

    def clip_counts(self, person: Person) -> dict[str, int]:
        """Return how many clips each encoder embedded, by its hash. Needs no key."""
        with self._database.reading() as db:
            return self._blobs.counts(db, person, EnrolledClip)

    def save_voice_profile(self, person: Person, voice_profile: StoredProfile) -> int:
        """Store a new revision and return its number; the ten newest are kept.

        Raises:
            StoreError: it takes 64 KB or more as JSON, or the person was forgotten meanwhile.
        """
        with self._database.writing() as db:
            return self._blobs.put(db, person, voice_profile, keep=KEPT_REVISIONS)

    def voice_profile(self, person: Person, encoder_hash: str) -> StoredProfile | None:
        """Return the newest profile for this encoder; None means: enrol (again)."""
        with self._database.reading() as db:
            return self._profile(db, person, encoder_hash)

    def revisions(self, person: Person, encoder_hash: str) -> dict[int, StoredProfile]:
        """Return the kept revisions of a profile by their numbers, newest first."""
        with self._database.reading() as db:
            return self._blobs.get(db, person, encoder_hash, StoredProfile)

    def revert(self, person: Person, encoder_hash: str, revision: int) -> int:
        """Make a copy of an older revision the newest one and return its number.

        Raises:
            StoreError: that revision is not kept; the message lists those that are.
        """
        with self._database.writing() as db:
            revisions = self._blobs.get(db, person, encoder_hash, StoredProfile)
            if revision not in revisions:
                kept = ", ".join(map(str, revisions)) or "none"
                raise StoreError(f"{person.name!r} has no revision {revision} for this encoder; there are: {kept}")
            update = {"reason": f"reverted to revision {revision}", "created_at": now()}
            return self._blobs.put(db, person, revisions[revision].model_copy(update=update), keep=KEPT_REVISIONS)

    def export_person(self, name: str) -> bytes:
        """Return a JSON file with everything about someone. It is voice data in the clear: keep it accordingly."""
        with self._database.reading() as db:
            person = self._person(db, name)
            hashes = sorted({key for kind in KINDS for key in self._blobs.counts(db, person, kind)})
            clips = [clip for encoder_hash in hashes for clip in self._clips(db, person, encoder_hash)]
            profiles = filter(None, [self._profile(db, person, encoder_hash) for encoder_hash in hashes])
        return write_export(Belongings(person=person, clips=tuple(clips), profiles=tuple(profiles)))

    def import_person(self, export: bytes, name: str | None = None) -> Person:
        """Add the person of an export, consent included, under their own or another name.

        Raises:
            UsageError: the other name is not allowed.
            StoreError: the export is damaged or of another version, or the name is taken.
        """
        belongings = read_export(export)
        update = {"id": str(uuid.uuid4()), "name": clean_name(belongings.person.name if name is None else name)}
        person = belongings.person.model_copy(update=update)
        with self._database.writing() as db:
            self._write(db, person)
            for clip in belongings.clips:
                self._blobs.put(db, person, clip)
            for voice_profile in belongings.profiles:
                self._blobs.put(db, person, voice_profile, keep=KEPT_REVISIONS)
        return person

    def _clips(self, db: sqlite3.Connection, person: Person, encoder_hash: str) -> list[EnrolledClip]:
        return list(self._blobs.get(db, person, encoder_hash, EnrolledClip).values())[::-1]

    def _profile(self, db: sqlite3.Connection, person: Person, encoder_hash: str) -> StoredProfile | None:
        return next(iter(self._blobs.get(db, person, encoder_hash, StoredProfile, limit=1).values()), None)

    def _people(self, db: sqlite3.Connection) -> list[Person]:
        people = []
        for id, folded_name, record, checksum in db.execute("SELECT * FROM people ORDER BY folded_name").fetchall():
            if _checksum(id, folded_name, record) != checksum:
                raise StoreError(f"{self.path}: {DAMAGED}")
            people.append(Person.model_validate_json(record))
        return people

    def _find(self, db: sqlite3.Connection, name: str) -> Person | None:
        return next((person for person in self._people(db) if fold_name(person.name) == fold_name(name)), None)

    def _person(self, db: sqlite3.Connection, name: str) -> Person:
        person = self._find(db, name)
        if person is None:
            hint = nearest(name, (person.name for person in self._people(db)))
            raise StoreError(f"nobody is called {name!r} in {self.path}{hint}")
        return person

    def _update(self, name: str, changes: dict[str, Any]) -> Person:
        with self._database.writing() as db:
            person = self._person(db, name).model_copy(update=changes)
            self._write(db, person)
        return person

    def _write(self, db: sqlite3.Connection, person: Person) -> None:
        row = (person.id, fold_name(person.name), person.model_dump_json())
        try:
            db.execute(
                "INSERT INTO people VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "folded_name = excluded.folded_name, record = excluded.record, checksum = excluded.checksum",
                (*row, _checksum(*row)),
            )
        except sqlite3.IntegrityError:
            raise StoreError(f"the name {person.name!r} is taken in {self.path}; choose another") from None


def _checksum(*columns: str) -> str:
    return hashlib.sha256(repr(columns).encode()).hexdigest()
