"""How reports write numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Cell = str | int | float | None
"""What a table holds: text as it is, numbers, or None where there is nothing."""


ONE_SPEAKER = "one speaker"
"""In the place of an interval over speakers."""


def shown(value: Cell) -> str:
    """Return a cell as text: three digits of a float, a dash for nothing and for what is not a number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of a sample; 0 for one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def spread(values: Sequence[float]) -> str:
    """Return ``mean ± standard deviation``, a dash for nothing."""
    if not values:
        return "-"
    return f"{np.mean(values):.3f}" + (f" ± {deviation(values):.3f}" if len(values) > 1 else "")


def interval(value: float, low: float, high: float) -> str:
    """Return a share with its interval over speakers: ``0.700 (0.650 to 0.750)``, or ``0.700 (one speaker)``."""
    if math.isnan(low):
        return f"{value:.3f} ({ONE_SPEAKER})"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def span(found: tuple[float, float] | None) -> str:
    """Return an interval alone: ``0.65 to 0.75``, or that there is one speaker."""
    return ONE_SPEAKER if found is None else f"{found[0]:.2f} to {found[1]:.2f}"


def points(gain: float, low: float | None = None, high: float | None = None) -> str:
    """Return a difference of shares in percent, with its interval: ``+1.2 (-0.1 to +2.5)``."""
    if low is not None and math.isnan(low):
        return f"{100 * gain:+.1f} ({ONE_SPEAKER})"
    return f"{100 * gain:+.1f}" + ("" if low is None or high is None else f" ({100 * low:+.1f} to {100 * high:+.1f})")


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Return JSON values with every float rounded to four digits, and null for what is not a number."""
    found: dict[str, Any] = json.loads(
        json.dumps(values), parse_float=lambda text: round(float(text), 4), parse_constant=lambda _: None
    )
    return found
