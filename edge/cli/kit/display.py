"""What commands write: tables and JSON on standard output, what there is to say beside that on standard error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from edge.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress


def screen() -> Console:
    """Return standard output."""
    return Console()


def new_table(*columns: str) -> Table:
    """Return an empty table in the style of all commands."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


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
