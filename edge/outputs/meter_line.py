"""Meters as text: what each source hears, and what of it was not reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from edge.errors import printable
from edge.meter import SILENT_DBFS, Meter

BAR_CELLS = 10
SMALL_BAR_CELLS = 6
"""Of one of several meters."""
NAME_CELLS = 8
VOICE = " voice"
LEAST_CELLS = 5 + 1 + SMALL_BAR_CELLS + len(VOICE)
"""Of one of several meters: the beginning of its name, and the bar."""
GAP_CELLS = 2


def bar(share: float, cells: int) -> str:
    """Return a bar of so many cells, of which a share from 0 to 1 is full."""
    full = round(share * cells)
    return "━" * full + "╌" * (cells - full)


def level_bar(meter: Meter, cells: int, style: str) -> Text:
    """Return the meter's level as a bar, red while it clips."""
    return Text().append(bar(1 - meter.level_dbfs / SILENT_DBFS, cells), "red" if meter.is_clipping else style)


def meter_line(meters: Sequence[Meter], unreported: Mapping[str, Mapping[str, int]], width: int) -> Text:
    """Return what all sources that were heard so far hear now, in at most ``width`` cells.

    Args:
        meters: of the sources, which share the width; those for which there is no room are counted.
        unreported: name of a source to why something was not reported, in a word or two, to how often.
        width: in cells.
    """
    heard = [meter for meter in meters if meter.name]
    if len(heard) <= 1:
        return Text().join(_reading(meter, unreported, BAR_CELLS, width) for meter in heard)
    shown = heard[: max(1, (width + GAP_CELLS) // (LEAST_CELLS + GAP_CELLS))]
    more = f" +{len(heard) - len(shown)}" if len(shown) < len(heard) else ""
    cells = (width - len(more) + GAP_CELLS) // len(shown) - GAP_CELLS
    name_cells = max(0, min(NAME_CELLS, cells - SMALL_BAR_CELLS - len(VOICE) - 1))
    rows = []
    for meter in shown:
        name = _fitted(Text(printable(meter.name), "dim"), name_cells)
        rows.append(Text(" ").join([name, _reading(meter, unreported, SMALL_BAR_CELLS, cells - name_cells - 1)]))
    return _fitted(Text(" " * GAP_CELLS).join(rows).append(more, "dim"), width)


def _reading(meter: Meter, unreported: Mapping[str, Mapping[str, int]], bar_cells: int, cells: int) -> Text:
    """Return as much of a reading as there is room for, in so many cells; what matters most comes first."""
    style = "green" if meter.hears_voice else "dim"
    row = level_bar(meter, bar_cells, style)
    counts = {"too short": meter.too_short, **unreported.get(meter.name, {})}
    reasons = [f"{count} {why}" for why, count in counts.items() if count]
    parts = [
        (VOICE if meter.hears_voice else " " * len(VOICE), style),
        (" too loud", "red") if meter.is_clipping else (f" {meter.level_dbfs:3.0f} dBFS", "dim"),
        *((f"{', ' if index else '  '}{reason}", "dim") for index, reason in enumerate(reasons)),
    ]
    for part, part_style in parts:
        if row.cell_len + len(part) > cells:
            break
        row.append(part, part_style)
    return _fitted(row, cells)


def _fitted(text: Text, cells: int) -> Text:
    text.truncate(max(0, cells), overflow="ellipsis", pad=True)
    return text
