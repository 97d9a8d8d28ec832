"""Legends that cover nothing."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MOST_COLUMNS = 4
CHARACTER_INCHES, HANDLE_INCHES = 0.09, 0.7
"""About what a character and the sign before a name take, with the space around it."""


def legend_below(figure: Figure, panels: Iterable[Axes], title: str | None = None) -> None:
    """Put the legend of some panels below all of them; what is called the same there is named once."""
    named: dict[str, Artist] = {}
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        named |= dict(zip(names, handles, strict=True))
    if named:
        column_inches = HANDLE_INCHES + CHARACTER_INCHES * max(map(len, named))
        columns = max(1, min(len(named), MOST_COLUMNS, int(figure.get_figwidth() / column_inches)))
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns, title=title)


def legend_beside(axes: Axes, title: str | None = None) -> None:
    """Put the legend of a panel to its right."""
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), title=title)
