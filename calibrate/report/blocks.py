"""What a report is put together from: tables, pictures and notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure
from rich import box
from rich.markup import escape
from rich.table import Table as Grid

from calibrate.report.cells import Cell, shown

Medium = Literal["both", "file", "terminal"]
"""Where a table or a note belongs: in the files that are written, on the terminal, or in both."""
MOST_COLUMNS = 10
"""A wider table is set without lines on the terminal."""
DOTS_PER_INCH = 120


@dataclass(frozen=True)
class Table:
    """A table with a heading and a caption, both of which may be empty."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    caption: str = ""
    medium: Medium = "both"

    @property
    def cells(self) -> list[list[str]]:
        """The rows as text, see ``cells.shown``."""
        return [[shown(value) for value in row] for row in self.rows]

    def markdown(self) -> list[str]:
        """Return the lines of the table alone."""
        header, *rows = (f"| {' | '.join(row)} |" for row in (self.columns, *self.cells))
        return [header, f"|{'---|' * len(self.columns)}", *rows]

    def grid(self, title: str) -> Grid:
        """Return the table as ``rich`` shows it; ``title`` stands in where it has none."""
        grid = Grid(*map(escape, self.columns), title=escape(self.title or title), caption=escape(self.caption) or None)
        grid.show_header = any(self.columns)
        if len(self.columns) > MOST_COLUMNS:
            grid.box, grid.padding = box.SIMPLE, 0
        for row in self.cells:
            grid.add_row(*map(escape, row))
        return grid


@dataclass(frozen=True)
class Note:
    """A paragraph of Markdown."""

    text: str
    medium: Medium = "both"


@dataclass(frozen=True)
class Picture:
    """A picture, drawn when it is written."""

    file: str
    """Name of the PNG file."""
    caption: str
    draw: Callable[[Figure], None]
    """Draws on an empty figure."""
    inches: tuple[float, float]
    """Width and height."""

    def write(self, folder: Path) -> None:
        """Draw the picture into a folder that exists."""
        figure = Figure(figsize=self.inches, layout="constrained")
        self.draw(figure)
        figure.savefig(folder / self.file, dpi=DOTS_PER_INCH)


Block = Table | Note | Picture


def sentence(text: str) -> str:
    """Return a caption as a sentence of its own."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}."
