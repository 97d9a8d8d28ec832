"""A part of the benchmark for processes of their own, which import no more than this file does."""

from __future__ import annotations

import os

from export.measure.plan import Plan
from export.measure.report import Section


def process_of(plan: Plan) -> Section:
    """Return which process it was."""
    return Section("Process", str(os.getpid()), [], {"rounds": plan.rounds})
