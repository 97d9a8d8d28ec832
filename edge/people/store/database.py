"""The store's SQLite file."""

from __future__ import annotations

import sqlite3

from edge.errors import StoreError
from edge.sqlite_file import SqliteFile

SCHEMA_VERSION = 1

SCHEMA = f"""
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE store (
    version INTEGER NOT NULL,   -- counts the changes
    key_check BLOB,             -- opens with the right key; NULL while nothing is sealed
    traces INTEGER NOT NULL     -- 1 while the file may hold remains of someone forgotten
);
INSERT INTO store VALUES (0, NULL, 0);
CREATE TABLE people (
    id TEXT PRIMARY KEY,
    folded_name TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL,       -- JSON, readable without the key, so that people can be listed and forgotten
    checksum TEXT NOT NULL      -- of the other columns, which no seal protects
);
CREATE TABLE blobs (
    person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    encoder_hash TEXT NOT NULL,
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (person_id, encoder_hash, kind, number)
);
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

DAMAGED = "is damaged and was left as it is; restore it from a backup, or delete it and enrol again"


class Database(SqliteFile):
    """The file of the speaker store; small enough to be verified as a whole when it is opened."""

    schema = SCHEMA
    schema_version = SCHEMA_VERSION
    facts = "store"
    error = StoreError
    damaged = DAMAGED
    elsewhere = "--store"
    reader = "affectd speakers list"

    def foreign(self, schema_version: int) -> StoreError:
        """Return the error for a database of another kind."""
        return StoreError(f"{self.path}: is no speaker store (schema {schema_version}); choose another folder")

    def check_content(self, connection: sqlite3.Connection) -> None:
        """Raise StoreError if anything in the file is damaged."""
        (problem,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if problem != "ok" or connection.execute("PRAGMA foreign_key_check").fetchone():
            raise StoreError(f"{self.path}: {DAMAGED}")
