"""The store's SQLite file: it appears complete or not at all, opens only when sound, and failures say what to do."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from edge.errors import StoreError
from edge.files import new_file

SCHEMA_VERSION = 1
BUSY_S = 10.0

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
REMEDIES = {
    "is full": "the disk is full; free some space and repeat, all before this is safe",
    "I/O error": "the disk is full or failed; check its space, quota and health and repeat, all before this is safe",
    "locked": "another process keeps it busy; repeat",
    "readonly": "this user must be able to write to it and its folder",
    "unable to open": "this user must be able to read and write it and its folder",
}
"""What SQLite says, and what that means for the file."""


class Database:
    """One connection, for one thread, opened when first needed. A file that does not exist yet reads as empty."""

    def __init__(self, path: Path, readonly: bool) -> None:
        self.path = path
        self._readonly = readonly
        self._connection: sqlite3.Connection | None = None
        self._snapshot: tuple[int, ...] | None = None
        """What the file was when it was opened without locks; None: SQLite looks itself for changes."""

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection with an unchanging view of the file.

        Raises:
            StoreError: the file is damaged, of another kind, or cannot be read.
        """
        with self._failures_explained():
            if self._connection or self._exists():
                with _transaction(self._connect(), "BEGIN") as connection:
                    yield connection
            else:
                with closing(sqlite3.connect(":memory:")) as connection:
                    connection.executescript(SCHEMA)
                    yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection to change the file through: all or nothing, one process at a time, safe on the disk.

        Raises:
            StoreError: as for ``reading``, or the file cannot be written; it is then as it was before.
        """
        if self._readonly:
            raise StoreError(f"{self.path}: was opened only for reading")
        with self._failures_explained():
            if not self._connection and not self._exists():
                self._create()
            with _transaction(self._connect(), "BEGIN IMMEDIATE") as connection:
                yield connection
                connection.execute("UPDATE store SET version = version + 1")

    def scrub(self) -> bool:
        """Remove what deleted rows left in the files; False if another process is reading them or the disk is full."""
        with self._failures_explained():
            return _scrub(self._connect())

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _exists(self) -> bool:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return False
        except ValueError:
            raise StoreError(f"{str(self.path)!r}: a path cannot hold a null character") from None
        if status.st_size == 0:
            raise StoreError(f"{self.path}: is empty (0 bytes), so it {DAMAGED}")
        if stat.S_IMODE(status.st_mode) & 0o077 and not self._readonly and os.access(self.path, os.W_OK):
            self.path.chmod(0o600)  # SQLite gives its -wal and -shm files the same mode
        return True

    def _create(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Another process may have been first.
        with (
            suppress(FileExistsError),
            new_file(self.path, private=True, replace=False) as path,
            closing(sqlite3.connect(path)) as connection,
        ):
            connection.executescript(SCHEMA)

    def _connect(self) -> sqlite3.Connection:
        if self._snapshot and self._snapshot != _snapshot(self.path):
            self.close()
        if self._connection is None:
            try:
                self._connection, self._snapshot = self._open(f"mode={'ro' if self._readonly else 'rw'}"), None
            except sqlite3.OperationalError as error:
                if "unable to open" not in str(error) or os.access(self.path.parent, os.W_OK):
                    raise
                self._snapshot = _snapshot(self.path)
                self._connection = self._open_without_locks()
        return self._connection

    def _open(self, how: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{how}", timeout=BUSY_S, isolation_level=None, uri=True
        )
        try:
            self._verify(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_without_locks(self) -> sqlite3.Connection:
        """Open the file in a folder that cannot be written, where SQLite cannot make the files that it shares.

        Raises:
            StoreError: a writer was cut off, and what it wrote last is only in the log beside the file.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise StoreError(
                f"{log}: holds changes that were cut off; run `affectd speakers list` once where the folder can be "
                "written"
            )
        return self._open("immutable=1")

    def _verify(self, connection: sqlite3.Connection) -> None:
        # Without temp_store VACUUM would copy the names to a file in /tmp.
        for setting in ("foreign_keys = ON", "secure_delete = ON", "synchronous = FULL", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {setting}")
        (schema_version,) = connection.execute("PRAGMA user_version").fetchone()
        if schema_version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path}: was written by a newer affectd (schema {schema_version}, this one knows "
                f"{SCHEMA_VERSION}); upgrade affectd"
            )
        if schema_version != SCHEMA_VERSION:
            raise StoreError(f"{self.path}: is no speaker store (schema {schema_version}); choose another folder")
        (problem,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if problem != "ok" or connection.execute("PRAGMA foreign_key_check").fetchone():
            raise StoreError(f"{self.path}: {DAMAGED}")
        (traces,) = connection.execute("SELECT traces FROM store").fetchone()
        if traces and not self._readonly:  # a process was killed, or hindered, while it forgot someone
            _scrub(connection)

    @contextmanager
    def _failures_explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.Error as error:
            remedy = next((remedy for cause, remedy in REMEDIES.items() if cause in str(error)), DAMAGED)
            raise StoreError(f"{self.path}: {remedy} ({str(error)!r})") from None
        except UnicodeDecodeError:
            raise StoreError(f"{self.path}: {DAMAGED}") from None
        except OSError as error:
            raise StoreError(
                f"{self.path}: {error.strerror}; its folder must have space and be this user's, or choose another with "
                "--store"
            ) from None


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[sqlite3.Connection]:
    connection.execute(begin)
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _snapshot(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _scrub(connection: sqlite3.Connection) -> bool:
    try:
        version = connection.execute("SELECT version FROM store").fetchone()
        connection.execute("VACUUM")
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:  # and nobody else was forgotten meanwhile
            connection.execute("UPDATE store SET traces = 0 WHERE version = ?", version)
    except sqlite3.OperationalError:
        return False
    return not busy
