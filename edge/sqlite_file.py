"""A private SQLite file: it appears complete or not at all, opens only when sound, and failures say what to do."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from edge.errors import AffectdError
from edge.files import new_file

BUSY_S = 10.0
REMEDIES = {
    "is full": "the disk is full; free some space and repeat, all before this is safe",
    "I/O error": "the disk is full or failed; check its space, quota and health and repeat, all before this is safe",
    "locked": "another process keeps it busy; repeat",
    "readonly": "this user must be able to write to it and its folder",
    "unable to open": "this user must be able to read and write it and its folder",
}
"""What SQLite says, and what that means for the file."""


class SqliteFile:
    """One connection, for one thread at a time, opened when first needed.

    A file that does not exist yet reads as empty. One that is removed or replaced is noticed at the next use.
    Deleted rows are overwritten.
    """

    schema: ClassVar[str]
    """What an empty file has, and its ``user_version`` and ``application_id``."""
    schema_version: ClassVar[int]
    application_id: ClassVar[int] = 0
    facts: ClassVar[str]
    """A table of one row with at least ``version``, which counts the changes, and ``traces``: 1 while the file may hold
    remains of what was deleted for good."""
    error: ClassVar[type[AffectdError]]
    """What is raised when the file is damaged, or cannot be read or written."""
    damaged: ClassVar[str]
    """What a message says of a damaged file."""
    elsewhere: ClassVar[str]
    """How another place is chosen."""
    reader: ClassVar[str]
    """A command that opens it."""

    def __init__(self, path: Path, readonly: bool = False) -> None:
        self.path = path
        self._readonly = readonly
        self._connection: sqlite3.Connection | None = None
        self._is_shared = True
        """It was opened with locks, so that SQLite itself looks for changes."""
        self._opened: tuple[int, ...] = ()
        """What the file was when it was opened."""

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection with an unchanging view of the file.

        Raises:
            AffectdError: the file is damaged, of another kind, or cannot be read.
        """
        with self._failures_explained():
            if self._exists():
                with _transaction(self._connect(), "BEGIN") as connection:
                    yield connection
            else:
                with closing(sqlite3.connect(":memory:")) as connection:
                    connection.executescript(self.schema)
                    yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection to change the file through: all or nothing, one process at a time, safe on the disk.

        Raises:
            AffectdError: as for ``reading``, or the file cannot be written; it is then as it was before.
        """
        if self._readonly:
            raise self.error(f"{self.path}: was opened only for reading")
        with self._failures_explained():
            if not self._exists():
                self._create()
            with _transaction(self._connect(), "BEGIN IMMEDIATE") as connection:
                yield connection
                connection.execute(f"UPDATE {self.facts} SET version = version + 1")

    def scrub(self) -> bool:
        """Remove what deleted rows left in the files; False if another process is reading them or the disk is full."""
        with self._failures_explained():
            return self._scrub(self._connect())

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def check_kind(self, schema_version: int, application_id: int) -> None:
        """Raise AffectdError if these are of a file of another kind or version."""
        if (schema_version, application_id) == (self.schema_version, self.application_id):
            return
        if schema_version > self.schema_version and application_id == self.application_id:
            raise self.error(
                f"{self.path}: was written by a newer affectd (schema {schema_version}, this one knows "
                f"{self.schema_version}); upgrade affectd"
            )
        raise self.foreign(schema_version)

    def foreign(self, schema_version: int) -> AffectdError:
        """Return the error for a database of another kind."""
        raise NotImplementedError

    def check_content(self, connection: sqlite3.Connection) -> None:
        """Raise AffectdError if the file that has just been opened is not sound."""

    def _exists(self) -> bool:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self.close()
            return False
        except ValueError:
            raise self.error(f"{str(self.path)!r}: a path cannot hold a null character") from None
        if self._connection and self._opened != self._identity(status):
            self.close()
        if self._connection is None:
            if status.st_size == 0:
                raise self.error(f"{self.path}: is empty (0 bytes), so it {self.damaged}")
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
            connection.executescript(self.schema)

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection, self._is_shared = self._open(f"mode={'ro' if self._readonly else 'rw'}"), True
            except sqlite3.OperationalError as error:
                if "unable to open" not in str(error) or os.access(self.path.parent, os.W_OK):
                    raise
                self._connection, self._is_shared = self._open_without_locks(), False
            self._opened = self._identity(self.path.stat())
        return self._connection

    def _open(self, how: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?{how}"
        connection = sqlite3.connect(uri, timeout=BUSY_S, isolation_level=None, check_same_thread=False, uri=True)
        try:
            self._verify(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_without_locks(self) -> sqlite3.Connection:
        """Open the file in a folder that cannot be written, where SQLite cannot make the files that it shares.

        Raises:
            AffectdError: a writer was cut off, and what it wrote last is only in the log beside the file.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise self.error(
                f"{log}: holds changes that were cut off; run `{self.reader}` once where the folder can be written"
            )
        return self._open("immutable=1")

    def _identity(self, status: os.stat_result) -> tuple[int, ...]:
        if self._is_shared:
            return status.st_dev, status.st_ino
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def _verify(self, connection: sqlite3.Connection) -> None:
        # Without temp_store VACUUM would copy the names to a file in /tmp.
        for setting in ("foreign_keys = ON", "secure_delete = ON", "synchronous = FULL", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {setting}")
        (schema_version,) = connection.execute("PRAGMA user_version").fetchone()
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        self.check_kind(schema_version, application_id)
        self.check_content(connection)
        (traces,) = connection.execute(f"SELECT traces FROM {self.facts}").fetchone()
        if traces and not self._readonly:  # a process was killed, or hindered, while it deleted for good
            self._scrub(connection)

    def _scrub(self, connection: sqlite3.Connection) -> bool:
        try:
            version = connection.execute(f"SELECT version FROM {self.facts}").fetchone()
            connection.execute("VACUUM")
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:  # and nothing else was deleted meanwhile
                connection.execute(f"UPDATE {self.facts} SET traces = 0 WHERE version = ?", version)
        except sqlite3.OperationalError:
            return False
        return not busy

    @contextmanager
    def _failures_explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.Error as error:
            remedy = next((remedy for cause, remedy in REMEDIES.items() if cause in str(error)), self.damaged)
            raise self.error(f"{self.path}: {remedy} ({str(error)!r})") from None
        except UnicodeDecodeError:
            raise self.error(f"{self.path}: {self.damaged}") from None
        except OSError as error:
            raise self.error(
                f"{self.path}: {error.strerror}; its folder must have space and be this user's, or choose another with "
                f"{self.elsewhere}"
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
