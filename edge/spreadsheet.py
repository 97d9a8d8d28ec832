"""CSV that a spreadsheet shows as it is: text that it would run as a formula has an apostrophe before it.

A file, a person or a source may be called ``=HYPERLINK(…)``. The apostrophe is what OWASP recommends against CSV
injection; numbers stay numbers, and ``plain`` takes the apostrophe away again.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import TextIO

MARK = "'"
FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")  # noqa: RUF001  (full-width, which run as well)
"""How a formula begins."""
MARKED = re.compile(rf"{MARK}*{FORMULA.pattern}")
"""Text that has an apostrophe of its own before it gets one more, so that ``plain`` gives it back."""


class CsvWriter:
    """Writes rows of cells, as ``csv.writer`` does."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file)

    def writerow(self, cells: Iterable[object]) -> None:
        """Write a row."""
        self._writer.writerow(map(harmless, cells))

    def writerows(self, rows: Iterable[Iterable[object]]) -> None:
        """Write rows."""
        for row in rows:
            self.writerow(row)


def harmless(cell: object) -> object:
    """Return a cell as a spreadsheet shows it and does not run it. Numbers, as text too, and a dash stay."""
    is_formula = isinstance(cell, str) and cell != "-" and MARKED.match(cell) and not _is_number(cell)
    return f"{MARK}{cell}" if is_formula else cell


def plain(cell: str) -> str:
    """Return the text of a cell that ``harmless`` has marked, or of any other as it is."""
    return cell[len(MARK) :] if cell.startswith(MARK) and MARKED.match(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text
