"""What becomes of malformed inputs."""

from __future__ import annotations

from collections import Counter

HANGS_S = 10.0
Counts = Counter[str]
"""Outcome to number. ``crashed`` and ``hung`` must not be among them."""
