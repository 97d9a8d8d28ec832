"""What commands write: tables and JSON on standard output, what there is to say beside that on standard error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edge.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress

TEXT_CELLS = 24
"""That the last column of a table needs at least, however long its text; it is wrapped."""


def screen() -> Console:
    """Return standard output."""
    return Console()


def new_table(*columns: str) -> Table:
    """Return an empty table in the style of all commands."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table with rows on standard output; where that is too narrow, each row as a block of lines."""
    console = screen()
    boundless = console.options.update(max_width=1_000 * console.width)
    last = max(Measurement.get(console, boundless, cell).maximum for cell in table.columns[-1].cells)
    natural = Measurement.get(console, boundless, table).maximum
    fits = natural - max(0, last - TEXT_CELLS) <= console.width
    console.print(table if fits or not table.show_header else _stacked(table))


def _stacked(table: Table) -> Group:
    """Return a block for each row: its name, and below it the other cells with their heads."""
    heads = [str(column.header) for column in table.columns]
    named = next(place for place, head in enumerate(heads) if head) + 1
    blocks: list[Text | Padding] = []
    for row, *cells in zip(table.rows, *(column.cells for column in table.columns), strict=True):
        words = [str(cell) for cell in cells[:named]]
        if words[-1].isdigit():  # which says nothing without its head
            words.insert(named - 1, heads[named - 1])
        facts = Table.grid(padding=(0, 2), pad_edge=False)
        for head, cell in zip(heads[named:], cells[named:], strict=True):
            facts.add_row(*([head, cell] if len(heads) > named + 1 else [cell]), style=row.style)
        for column in facts.columns:
            column.overflow = "fold"
        blocks += [Text(" ".join(words), row.style or ""), Padding(facts, (0, 0, 0, 2), expand=False)]
    return Group(*blocks)


def progress_bar(console: Console | None = None) -> Progress:
    """Return a bar on standard error, or on another ``console``, that vanishes; none where that is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = console or Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def print_json(value: object) -> None:
    """Print for programs."""
    print(json.dumps(value, indent=2))


def say(text: str) -> None:
    """Print one line on standard error, whatever is in the name of a file."""
    print(f"affectd: {printable(text)}", file=sys.stderr)


def confirmed(question: str) -> bool:
    """Ask on the terminal; the end of input is a no."""
    try:
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
    except UnicodeDecodeError:
        answer = ""
    if not answer.endswith("\n"):
        print(file=sys.stderr)
    return answer.strip().lower() in {"y", "yes"}
