"""The journal's SQLite file, and where it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.errors import OutputError, UsageError
from edge.folders import data_folder, expanded
from edge.settings import OutputSettings
from edge.sqlite_file import SqliteFile

JOURNAL_NAME = "journal.db"
MARK = b"affj"
"""The ``application_id``, at a place that is fixed by SQLite's file format."""
MARK_AT = 68
SQLITE_MARK = b"SQLite format 3\0"
SCHEMA_VERSION = 1

SCHEMA = f"""
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE journal (
    version INTEGER NOT NULL,   -- counts the changes
    traces INTEGER NOT NULL     -- 1 while the file may hold remains of what was deleted for good
);
INSERT INTO journal VALUES (0, 0);
CREATE TABLE stretches (        -- of time in which the wall clock went without a jump; see edge/journal/clock.py
    number INTEGER PRIMARY KEY,
    boot TEXT NOT NULL,         -- of the machine
    offset_ms INTEGER NOT NULL, -- the wall clock less the time since that boot
    since_ms INTEGER NOT NULL,  -- when it last jumped
    seen_ms INTEGER NOT NULL    -- when it was last looked at
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY,     -- in the order of writing
    stretch INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,   -- since 1970, UTC
    source TEXT NOT NULL,
    fact TEXT NOT NULL,         -- utterance, or why there is none
    person TEXT,                -- id in the speaker store, which has the name; NULL of strangers
    answer BLOB                 -- sealed JSON; NULL unless it is an utterance
);
CREATE INDEX events_by_time ON events (time_ms);
PRAGMA user_version = {SCHEMA_VERSION};
PRAGMA application_id = {int.from_bytes(MARK, "big")};
COMMIT;
"""


class JournalFile(SqliteFile):
    """The file of the journal. It may be big, so damage shows where it is read."""

    schema = SCHEMA
    schema_version = SCHEMA_VERSION
    application_id = int.from_bytes(MARK, "big")
    facts = "journal"
    error = OutputError
    damaged = "is damaged and was left as it is; restore it from a backup, or delete it"
    elsewhere = "the output's path"
    reader = "affectd history"

    def foreign(self, schema_version: int) -> UsageError:
        """Return the error for a database of another kind."""
        return _foreign(self.path)


def check_journal(path: Path) -> None:
    """Raise UsageError if there is something at ``path`` that is no journal; nothing, or an empty file, is fine."""
    try:
        if not path.exists():
            return
        if not path.is_file():
            raise UsageError(f"{path}: it is no file, and a journal is one")
        with path.open("rb") as file:
            head = file.read(MARK_AT + len(MARK))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if head and not (head.startswith(SQLITE_MARK) and head.endswith(MARK)):
        raise _foreign(path)


def journal_paths(outputs: Sequence[OutputSettings], store_folder: Path | None) -> list[Path]:
    """Return where a journal may be: that of an output first, then that beside the speaker store.

    Args:
        outputs: of the settings.
        store_folder: None is the user's data folder.
    """
    beside = (store_folder or data_folder()) / JOURNAL_NAME
    paths = [expanded(output.path) if output.path else beside for output in outputs if output.type == "journal"]
    return list(dict.fromkeys([*paths, beside]))


def _foreign(path: Path) -> UsageError:
    return UsageError(f"{path}: it exists and is no journal of affectd; name another file, or remove this one")
