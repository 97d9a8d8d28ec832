"""The history as a plot: a bar for each day or hour, of one colour for each emotion."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from edge import svg
from edge.journal.history import Group, History
from edge.markup import element, text

PANEL, GAP = 120, 34
"""Height of the bars of somebody, and the space above them."""
MOST_SLOTS, MOST_NAMES = 1_000, 8
"""On the axis of time: more days or hours than that are not filled up, and so many have their name below them."""
COLOURS = {
    "neutral": "#9a9a9a",
    "happy": "#e0b400",
    "sad": "#1f77b4",
    "angry": "#c8322b",
    "fear": "#9467bd",
    "disgust": "#2a9d5c",
    "surprise": "#e07b00",
}
FORMATS = {"day": "%Y-%m-%d", "hour": "%Y-%m-%d %H:00"}


def history_plot(history: History) -> str:
    """Return an SVG file: utterances over what they are grouped by first, with a panel for each of the rest."""
    slots = _slots(history)
    panels: dict[str, list[Group]] = {}
    for group in history.groups:
        panels.setdefault(" · ".join(group.keys[1:]), []).append(group)
    most = max((group.emotions.total() for group in history.groups), default=0)
    parts = [_legend(history.labels)]
    top = svg.TOP + GAP
    for name, groups in panels.items():
        parts += _panel(name, groups, slots, history.labels, most, top)
        top += PANEL + GAP
    step = -(-len(slots) // MOST_NAMES)
    parts += [
        svg.label(_left(index + 0.5, slots), top - GAP + 16, slot, "middle")
        for index, slot in enumerate(slots)
        if index % step == 0
    ]
    title = f"affectd history: utterances by {history.by[0]} and emotion"
    return svg.document(svg.plot(title, parts, top))


def _panel(
    name: str, groups: Sequence[Group], slots: Sequence[str], labels: Sequence[str], most: int, top: float
) -> list[str]:
    """Return the bars of one combination of what groups have in common besides the first."""
    y = svg.linear(most, top + PANEL, top)
    parts = [svg.label(svg.LEFT, top - 8, name, "start")]
    for value in svg.round_values(most):
        if value == int(value):
            parts.append(svg.line(svg.LEFT, y(value), svg.WIDTH - svg.RIGHT, y(value), "currentColor", 1, opacity=0.15))
            parts.append(svg.label(svg.LEFT - 10, y(value) + 4, f"{value:g}", "end"))
    for group in groups:
        index, below = slots.index(group.keys[0]), 0
        left, right = _left(index + 0.1, slots), _left(index + 0.9, slots)
        for label in labels:
            if count := group.emotions[label]:
                hint = element("title", text(f"{group.keys[0]}: {label} {count} of {group.emotions.total()}"))
                place = {
                    "x": f"{left:.1f}",
                    "width": f"{right - left:.1f}",
                    "y": f"{y(below + count):.1f}",
                    "height": f"{y(below) - y(below + count):.1f}",
                }
                parts.append(element("rect", hint, **place, fill=_colour(label, labels)))
                below += count
    return parts


def _slots(history: History) -> list[str]:
    """Return what stands on the axis: all days or hours from the first to the last, or the names that there are."""
    found = sorted({group.keys[0] for group in history.groups})
    form = FORMATS.get(history.by[0])
    if form is None or not found:
        return found
    first, last = (datetime.strptime(slot, form) for slot in (found[0], found[-1]))
    step = timedelta(days=1) if history.by[0] == "day" else timedelta(hours=1)
    count = (last - first) // step + 1
    return [(first + step * index).strftime(form) for index in range(count)] if count <= MOST_SLOTS else found


def _left(index: float, slots: Sequence[str]) -> float:
    return svg.LEFT + (svg.WIDTH - svg.RIGHT - svg.LEFT) * index / len(slots)


def _legend(labels: Sequence[str]) -> str:
    width = (svg.WIDTH - svg.RIGHT) / max(1, len(labels))
    entries = (
        svg.line(width * index + 10, svg.TOP - 10, width * index + 26, svg.TOP - 10, _colour(label, labels), 8)
        + svg.label(width * index + 32, svg.TOP - 6, label, "start")
        for index, label in enumerate(labels)
    )
    return "".join(entries)


def _colour(label: str, labels: Sequence[str]) -> str:
    return COLOURS.get(label) or svg.COLOURS[labels.index(label) % len(svg.COLOURS)]
