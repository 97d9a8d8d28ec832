"""Plots as inline SVG: spread per stage, cost per length, and how often an answer takes how long."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edge.profiling.markup import element, text
from edge.profiling.measurements import Row

WIDTH, LEFT, RIGHT, TOP, LINE = 760, 150, 30, 26, 24
HEIGHT = 280
COLOURS = ("#1f77b4", "#d95f02", "#2a9d5c", "#9467bd", "#c23b6b")

Scale = Callable[[float], float]


def spread_plot(rows: Sequence[Row]) -> str:
    """Return one line per row on a logarithmic axis: thick from p50 to p90, thin to p99, a dot at the maximum."""
    shown = [row for row in rows if row.unit == "ms" and max(row.samples) > 0]
    if not shown:
        return ""
    low = min(max(row.quantile(0.5), 1e-3) for row in shown)
    first, last = math.floor(math.log10(low)), max(math.ceil(math.log10(max(max(row.samples) for row in shown))), 0)
    last = max(last, first + 1)
    bottom = TOP + LINE * len(shown)

    def x(value_ms: float) -> float:
        share = (math.log10(max(value_ms, 10**first)) - first) / (last - first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    parts = [_tick(x(10**power), TOP - 8, bottom, f"{10.0**power:g} ms") for power in range(first, last + 1)]
    for index, row in enumerate(shown):
        y = TOP + LINE * (index + 0.5)
        p50, p90, p99 = (row.quantile(share) for share in (0.5, 0.9, 0.99))
        parts.append(_label(LEFT - 10, y + 4, row.name, "end"))
        parts.append(_line(x(p50), y, x(p99), y, COLOURS[0], 2))
        parts.append(_line(x(p50) - 2, y, x(p90) + 2, y, COLOURS[0], 9))
        parts.append(element("circle", cx=f"{x(max(row.samples)):.1f}", cy=y, r=3, fill=COLOURS[1]))
    return _svg("Time of each stage", parts, bottom + 24)


def length_plot(rows: Sequence[Row]) -> str:
    """Return milliseconds per utterance over its length, a line for each batch size, with a bar up to p90."""
    series: dict[int, list[tuple[float, float, float]]] = {}
    for row in rows:
        if row.bucket_s is not None and row.batch is not None:
            point = row.bucket_s, row.quantile(0.5) / row.batch, row.quantile(0.9) / row.batch
            series.setdefault(row.batch, []).append(point)
    if not series:
        return ""
    points = [point for line in series.values() for point in line]
    x = _linear(max(length_s for length_s, _, _ in points), LEFT, WIDTH - RIGHT)
    y = _linear(max(p90_ms for _, _, p90_ms in points), HEIGHT, TOP)
    parts = _axes(x, y, max(length_s for length_s, _, _ in points), max(p90_ms for _, _, p90_ms in points), "s", "ms")
    for index, (batch, line) in enumerate(sorted(series.items())):
        colour = COLOURS[index % len(COLOURS)]
        parts.append(_path([(x(length_s), y(p50_ms)) for length_s, p50_ms, _ in sorted(line)], colour))
        parts += [_line(x(length_s), y(p50_ms), x(length_s), y(p90_ms), colour, 2) for length_s, p50_ms, p90_ms in line]
        parts.append(_legend(index, f"batches of {batch}", colour))
    return _svg("Encoder time per utterance and length", parts, HEIGHT + 36)


def share_plot(rows: Sequence[Row]) -> str:
    """Return the share of samples that took at most so long, a line for each row."""
    if not rows:
        return ""
    longest_ms = max(max(row.samples) for row in rows)
    x, y = _linear(longest_ms, LEFT, WIDTH - RIGHT), _linear(100, HEIGHT, TOP)
    parts = _axes(x, y, longest_ms, 100, "ms", "%")
    for index, row in enumerate(rows):
        samples = sorted(row.samples)
        steps = [(x(0), y(0))]
        for rank, sample in enumerate(samples):
            steps += [(x(sample), steps[-1][1]), (x(sample), y(100 * (rank + 1) / len(samples)))]
        colour = COLOURS[index % len(COLOURS)]
        parts += [_path(steps, colour), _legend(index, row.name, colour)]
    return _svg("Share of utterances answered within a time", parts, HEIGHT + 36)


def _axes(x: Scale, y: Scale, x_most: float, y_most: float, x_unit: str, y_unit: str) -> list[str]:
    parts = [_tick(x(value), TOP, HEIGHT, f"{value:g} {x_unit}") for value in _round_values(x_most)]
    for value in _round_values(y_most):
        parts += [
            _line(LEFT, y(value), WIDTH - RIGHT, y(value), "currentColor", 1, opacity=0.15),
            _label(LEFT - 10, y(value) + 4, f"{value:g} {y_unit}", "end"),
        ]
    return parts


def _round_values(most: float) -> list[float]:
    """Return some round numbers from zero to at most ``most``."""
    if most <= 0:
        return [0.0]
    step = 10 ** math.floor(math.log10(most))
    step = next(part for part in (step / 5, step / 2, step, 2 * step) if most / part <= 8)
    return [round(step * index, 9) for index in range(int(most / step + 1e-9) + 1)]


def _linear(most: float, start: float, end: float) -> Scale:
    return lambda value: start + (end - start) * value / (most or 1)


def _tick(x: float, top: float, bottom: float, name: str) -> str:
    return _line(x, top, x, bottom, "currentColor", 1, opacity=0.15) + _label(x, bottom + 16, name, "middle")


def _legend(index: int, name: str, colour: str) -> str:
    y = TOP + 18 * index + 8
    return _line(LEFT + 14, y, LEFT + 38, y, colour, 3) + _label(LEFT + 46, y + 4, name, "start")


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, opacity: float = 1.0) -> str:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    return element("line", **ends, stroke=colour, stroke_width=width, opacity=opacity)


def _path(points: Sequence[tuple[float, float]], colour: str) -> str:
    data = " ".join(f"{'L' if index else 'M'}{x:.1f} {y:.1f}" for index, (x, y) in enumerate(points))
    return element("path", d=data, fill="none", stroke=colour, stroke_width=2)


def _label(x: float, y: float, name: str, anchor: str) -> str:
    return element("text", text(name), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, fill="currentColor")


def _svg(title: str, parts: Sequence[str], height: float) -> str:
    box = f"0 0 {WIDTH} {height:.0f}"
    return element("svg", element("title", text(title)), *parts, viewBox=box, role="img", aria_label=title)
