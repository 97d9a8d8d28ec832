"""The history as a table for a terminal of any width, and as CSV."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from edge.cli.kit.display import new_table
from edge.journal.history import Group, History
from edge.people.usual import than_usual
from edge.spreadsheet import CsvWriter

NOTES_CELLS = 20
"""That notes need at least; they are wrapped."""
GROUP_COLUMNS = ("utterances", "duration_s", "needs_review")
UTTERANCE_COLUMNS = (
    "time",
    "source",
    "person",
    "certainty",
    "emotion",
    "confidence",
    "speech",
    "duration_s",
    "needs_review",
)
CSV_MARK = b"duration_s,needs_review"
"""In the heading of every CSV file."""
NUMBERS = frozenset({"utterances", "n", "review", "confidence"})

Cells = dict[str, str]
"""A row of a table, by the heads of its columns."""


def history_table(history: History, console: Console) -> Table:
    """Return the widest table that fits: with a column for each emotion, or with the commonest of them.

    With persons, notes stand only where there is room for them: there are few.
    """
    notes = [_joined(group.notes) for group in history.groups]
    notes_cells = NOTES_CELLS * any(notes)
    for layout in LAYOUTS:
        rows = [_keys(history, group) | layout(history, group) for group in history.groups]
        table = _table(rows, history.labels)
        natural = Measurement.get(console, console.options.update(max_width=10 * console.width), table).maximum
        if natural + notes_cells <= console.width:
            return _table([row | {"else": note} for row, note in zip(rows, notes, strict=True)], history.labels)
        if natural <= console.width and "person" in history.by:
            break
    return table


def utterance_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for each record of an utterance."""
    return _table([_utterance_cells(record) for record in records], ())


def history_csv(history: History) -> str:
    """Return a line for each group, with a column for the share of each emotion."""
    rows = [record | record["emotions"] | {"notes": _joined(record["notes"])} for record in history.records()]
    return _csv(rows, (*history.by, *GROUP_COLUMNS, *history.labels, "than_usual", "notes"))


def utterance_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a line for each record of an utterance, with a column for the probability of each emotion."""
    labels = dict.fromkeys(label for record in records for label in record.get("scores", ()))
    rows = [{**record, **record.get("scores", {})} for record in records]
    return _csv(rows, (*UTTERANCE_COLUMNS, *labels, "than_usual"))


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = CsvWriter(text)
    writer.writerow(columns)
    writer.writerows([row.get(column) for column in columns] for row in rows)
    return text.getvalue()


def _joined(notes: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in notes.items())


def _keys(history: History, group: Group) -> Cells:
    return dict(zip(history.by, group.keys, strict=True))


def _with_all(history: History, group: Group) -> Cells:
    shares = {label: f"{group.share(label):.0%}" if group.emotions else "" for label in history.labels}
    return {"utterances": str(group.utterances)} | shares | _doubt(group) | _usual(group)


def _with_commonest(history: History, group: Group, count: int) -> Cells:
    named = [f"{label} {group.share(label):.0%}" for label, _ in group.emotions.most_common(count)]
    return {"n": str(group.utterances), "mostly": ", ".join(named)} | _doubt(group) | _usual(group)


def _with_one(history: History, group: Group) -> Cells:
    cells = _with_commonest(history, group, 1)
    return {head: cells[head] for head in ("n", "mostly")}


LAYOUTS: tuple[Callable[[History, Group], Cells], ...] = (
    _with_all,
    partial(_with_commonest, count=3),
    partial(_with_commonest, count=2),
    partial(_with_commonest, count=1),
    _with_one,
)


def _doubt(group: Group) -> Cells:
    return {"review": f"{group.needs_review / group.utterances:.0%}" if group.utterances else ""}


def _usual(group: Group) -> Cells:
    return {"than usual": than_usual(group.relative) if group.relative else ""}


def _utterance_cells(record: Mapping[str, Any]) -> Cells:
    cells = {"time": f"{datetime.fromisoformat(record['time']):%Y-%m-%d %H:%M:%S}", "person": record["person"]}
    if "emotion" not in record:
        return cells | {"emotion": "unreadable"}
    doubt = " ?" if record["needs_review"] else "  "
    return cells | {
        "emotion": record["emotion"],
        "confidence": f"{record['confidence']:.0%}{doubt}",
        "than usual": record["than_usual"] or "",
        "source": record["source"],
    }


def _table(rows: Sequence[Cells], labels: Sequence[str]) -> Table:
    """Return a table of the columns that have something in them."""
    heads = dict.fromkeys(head for row in rows for head, cell in row.items() if cell)
    table = new_table(*heads)
    for column, head in zip(table.columns, heads, strict=True):
        column.justify = "right" if head in NUMBERS or head in labels else "left"
    for row in rows:
        table.add_row(*(Text(row.get(head, "")) for head in heads))
    return table
