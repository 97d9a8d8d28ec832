"""Parts of plots as SVG. Places are in units of the plot, from its upper left corner."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edge.markup import element, text

WIDTH, LEFT, RIGHT, TOP = 760, 150, 30, 26
HEIGHT = 280
COLOURS = ("#1f77b4", "#d95f02", "#2a9d5c", "#9467bd", "#c23b6b")

NAMESPACE = "http://www.w3.org/2000/svg"

Scale = Callable[[float], float]


def axes(x: Scale, y: Scale, x_most: float, y_most: float, x_unit: str, y_unit: str) -> list[str]:
    """Return round ticks on both axes, from zero to at most the two values."""
    parts = [tick(x(value), TOP, HEIGHT, f"{value:g} {x_unit}") for value in round_values(x_most)]
    for value in round_values(y_most):
        parts += [
            line(LEFT, y(value), WIDTH - RIGHT, y(value), "currentColor", 1, opacity=0.15),
            label(LEFT - 10, y(value) + 4, f"{value:g} {y_unit}", "end"),
        ]
    return parts


def round_values(most: float) -> list[float]:
    """Return some round numbers from zero to at most ``most``."""
    if most <= 0:
        return [0.0]
    step = 10 ** math.floor(math.log10(most))
    step = next(part for part in (step / 5, step / 2, step, 2 * step) if most / part <= 8)
    return [round(step * index, 9) for index in range(int(most / step + 1e-9) + 1)]


def linear(most: float, start: float, end: float) -> Scale:
    """Return the scale on which zero is at ``start`` and ``most`` at ``end``."""
    return lambda value: start + (end - start) * value / (most or 1)


def tick(x: float, top: float, bottom: float, name: str) -> str:
    """Return a vertical line with a name below it."""
    return line(x, top, x, bottom, "currentColor", 1, opacity=0.15) + label(x, bottom + 16, name, "middle")


def legend(index: int, name: str, colour: str) -> str:
    """Return the entry of a legend with this number."""
    y = TOP + 18 * index + 8
    return line(LEFT + 14, y, LEFT + 38, y, colour, 3) + label(LEFT + 46, y + 4, name, "start")


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, opacity: float = 1.0) -> str:
    """Return a straight line."""
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    return element("line", **ends, stroke=colour, stroke_width=width, opacity=opacity)


def path(points: Sequence[tuple[float, float]], colour: str) -> str:
    """Return straight lines from point to point."""
    data = " ".join(f"{'L' if index else 'M'}{x:.1f} {y:.1f}" for index, (x, y) in enumerate(points))
    return element("path", d=data, fill="none", stroke=colour, stroke_width=2)


def label(x: float, y: float, name: str, anchor: str) -> str:
    """Return text; ``anchor`` is ``start``, ``middle`` or ``end``."""
    return element("text", text(name), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, fill="currentColor")


def plot(title: str, parts: Sequence[str], height: float) -> str:
    """Return a plot of these parts."""
    box = f"0 0 {WIDTH} {height:.0f}"
    return element("svg", element("title", text(title)), *parts, viewBox=box, role="img", aria_label=title)


def document(plot: str) -> str:
    """Return a plot as a file of its own."""
    own = f'<svg xmlns="{NAMESPACE}" font-family="system-ui, sans-serif" font-size="12" '
    return f"{plot.replace('<svg ', own, 1)}\n"
