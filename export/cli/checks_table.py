"""Checks of a bundle as a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from export.bundle.check import Check

VERDICTS = {True: "ok", False: "[bold red]FAILED[/bold red]", None: ""}


def show_checks(checks: Sequence[Check], title: str) -> None:
    """Print a row for each check: figure, limit and verdict."""
    table = Table("check", "figure", "limit", "", title=title)
    for check in checks:
        table.add_row(check.name, str(check), check.limit, VERDICTS[check.passed])
    Console().print(table)
