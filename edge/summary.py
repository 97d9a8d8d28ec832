"""What a run came to, in a line for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """What one run came to."""

    utterances: int
    skipped: int
    audio_s: float
    dropped_s: float
    total_p50_ms: float | None
    """Median time from the end of speech to the final event, over the latest 1,000 utterances; None without any."""
    total_p95_ms: float | None
    provisional_p50_ms: float | None
    """Median time from there to the answer."""
    lost_events: Mapping[str, int]
    """Name of an output to the number of events that it was too slow for, or that came after it had failed."""

    def __str__(self) -> str:
        text = f"{self.utterances} utterances in {self.audio_s:.1f} s of audio"
        if self.skipped or self.dropped_s:
            text += f", {self.skipped} skipped, {self.dropped_s:.1f} s lost"
        if self.total_p50_ms is not None:
            text += f", latency from end of speech p50 {self.total_p50_ms:.0f} ms, p95 {self.total_p95_ms:.0f} ms"
            text += f", to the provisional answer p50 {self.provisional_p50_ms:.0f} ms"
        return text + "".join(f", {count} events lost by {name}" for name, count in self.lost_events.items())
