"""What the commands on the journal share: which journal, whose rows, and from when."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import UsageError

if TYPE_CHECKING:
    from edge.journal import Journal
    from edge.people.store import SpeakerStore
    from edge.settings import LoadedSettings

AGO = re.compile(r"(\d{1,5})([hdw])")
HOURS = {"h": 1, "d": 24, "w": 7 * 24}
DAY = re.compile(r"\d{4}-\d\d-\d\d")
WHEN = "2026-01-31, 2026-01-31T15:00, today, yesterday, or 7d, 12h, 2w ago"

JournalPath = Annotated[
    Path | None,
    typer.Option("--journal", help="Another journal.", metavar="FILE", show_default="that of the settings"),
]
Person = Annotated[str | None, typer.Option(help="Only what they said.", metavar="NAME", show_default="all")]


def open_journal(loaded: LoadedSettings, path: Path | None) -> Journal:
    """Return the journal of the settings, or another one; raises UsageError if the file is none."""
    from edge.journal import Journal, check_journal, journal_paths

    path = path or journal_paths(loaded.settings.outputs, loaded.settings.speakers.store_folder)[0]
    check_journal(path)
    return Journal(path)


def id_of(name: str, journal: Journal, store: SpeakerStore) -> str:
    """Return the id of someone enrolled; of someone forgotten the beginning of it, as it is shown, stands for a name.

    Raises:
        StoreError: nobody is called so; the message names the nearest.
    """
    from edge.journal.history import ID_CHARS

    if person := store.find(name):
        return person.id
    unknown = [each for each in journal.people() if each.startswith(name)] if len(name) >= ID_CHARS else []
    return unknown[0] if unknown else store.person(name).id


def moment(text: str, is_end: bool = False) -> datetime:
    """Return the local time that is meant; of a day its midnight, or if it is an end the one after.

    Raises:
        UsageError: it is none.
    """
    now = datetime.now().astimezone()
    today = datetime.combine(now.date(), time())
    days = {"today": today, "yesterday": today - timedelta(days=1)}
    try:
        if ago := AGO.fullmatch(text):
            return now - timedelta(hours=int(ago[1]) * HOURS[ago[2]])
        found = days.get(text) or datetime.fromisoformat(text)
        is_day = text in days or DAY.fullmatch(text)
        return (found + timedelta(days=1) if is_end and is_day else found).astimezone()
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no time: {WHEN}") from None
