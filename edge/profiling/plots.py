"""Plots as inline SVG: spread per stage, cost per length, and how often an answer takes how long."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge import svg
from edge.markup import element
from edge.profiling.measurements import Row

LINE = 24
"""Height of a row."""


def spread_plot(rows: Sequence[Row]) -> str:
    """Return one line per row on a logarithmic axis: thick from p50 to p90, thin to p99, a dot at the maximum."""
    shown = [row for row in rows if row.unit == "ms" and max(row.samples) > 0]
    if not shown:
        return ""
    low = min(max(row.quantile(0.5), 1e-3) for row in shown)
    first, last = math.floor(math.log10(low)), max(math.ceil(math.log10(max(max(row.samples) for row in shown))), 0)
    last = max(last, first + 1)
    bottom = svg.TOP + LINE * len(shown)

    def x(value_ms: float) -> float:
        share = (math.log10(max(value_ms, 10**first)) - first) / (last - first)
        return svg.LEFT + share * (svg.WIDTH - svg.LEFT - svg.RIGHT)

    parts = [svg.tick(x(10**power), svg.TOP - 8, bottom, f"{10.0**power:g} ms") for power in range(first, last + 1)]
    for index, row in enumerate(shown):
        y = svg.TOP + LINE * (index + 0.5)
        p50, p90, p99 = (row.quantile(share) for share in (0.5, 0.9, 0.99))
        parts.append(svg.label(svg.LEFT - 10, y + 4, row.name, "end"))
        parts.append(svg.line(x(p50), y, x(p99), y, svg.COLOURS[0], 2))
        parts.append(svg.line(x(p50) - 2, y, x(p90) + 2, y, svg.COLOURS[0], 9))
        parts.append(element("circle", cx=f"{x(max(row.samples)):.1f}", cy=y, r=3, fill=svg.COLOURS[1]))
    return svg.plot("Time of each stage", parts, bottom + 24)


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
    x = svg.linear(max(length_s for length_s, _, _ in points), svg.LEFT, svg.WIDTH - svg.RIGHT)
    y = svg.linear(max(p90_ms for _, _, p90_ms in points), svg.HEIGHT, svg.TOP)
    parts = svg.axes(
        x, y, max(length_s for length_s, _, _ in points), max(p90_ms for _, _, p90_ms in points), "s", "ms"
    )
    for index, (batch, line) in enumerate(sorted(series.items())):
        colour = svg.COLOURS[index % len(svg.COLOURS)]
        parts.append(svg.path([(x(length_s), y(p50_ms)) for length_s, p50_ms, _ in sorted(line)], colour))
        parts += [
            svg.line(x(length_s), y(p50_ms), x(length_s), y(p90_ms), colour, 2) for length_s, p50_ms, p90_ms in line
        ]
        parts.append(svg.legend(index, f"batches of {batch}", colour))
    return svg.plot("Encoder time per utterance and length", parts, svg.HEIGHT + 36)


def share_plot(rows: Sequence[Row]) -> str:
    """Return the share of samples that took at most so long, a line for each row."""
    if not rows:
        return ""
    longest_ms = max(max(row.samples) for row in rows)
    x, y = svg.linear(longest_ms, svg.LEFT, svg.WIDTH - svg.RIGHT), svg.linear(100, svg.HEIGHT, svg.TOP)
    parts = svg.axes(x, y, longest_ms, 100, "ms", "%")
    for index, row in enumerate(rows):
        samples = sorted(row.samples)
        steps = [(x(0), y(0))]
        for rank, sample in enumerate(samples):
            steps += [(x(sample), steps[-1][1]), (x(sample), y(100 * (rank + 1) / len(samples)))]
        colour = svg.COLOURS[index % len(svg.COLOURS)]
        parts += [svg.path(steps, colour), svg.legend(index, row.name, colour)]
    return svg.plot("Share of utterances answered within a time", parts, svg.HEIGHT + 36)


def streams_plot(rows: Sequence[Row]) -> str:
    """Return the time of the final event over the number of sources, p50 and p99."""
    shown = [row for row in rows if row.sources and row.stage.startswith("final")]
    if not shown:
        return ""
    most, longest_ms = max(row.sources or 0 for row in shown), max(row.quantile(0.99) for row in shown)
    x, y = svg.linear(most, svg.LEFT, svg.WIDTH - svg.RIGHT), svg.linear(longest_ms, svg.HEIGHT, svg.TOP)
    parts = svg.axes(x, y, most, longest_ms, "", "ms")
    for index, (name, share) in enumerate((("p50", 0.5), ("p99", 0.99))):
        points = [(x(row.sources or 0), y(row.quantile(share))) for row in shown]
        parts += [svg.path(points, svg.COLOURS[index]), svg.legend(index, name, svg.COLOURS[index])]
    return svg.plot("Final event over the number of sources", parts, svg.HEIGHT + 36)
