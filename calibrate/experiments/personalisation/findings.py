"""What was measured of ways to make a model one person's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from calibrate.experiments.personalisation.gap import Gap
from calibrate.experiments.pldc.figures import Collected


@dataclass
class Findings:
    """What was measured, over all seeds."""

    scores: Collected = field(default_factory=Collected)
    losses: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Masked loss of new speakers by encoder and embedding, one a seed."""
    gaps: list[Gap] = field(default_factory=list)
    tested: set[str] = field(default_factory=set)
    """Speakers."""
