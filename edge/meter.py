"""What a source hears now, for somebody in front of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from edge.audio import Waveform, peak
from edge.segment import FULL_SCALE
from edge.vad import level

SILENT_DBFS = -70.0
"""The meter's left end; its right end is full scale."""
FALL_DB_PER_S = 40.0
"""The meter falls so fast, so that a glance sees the peaks."""
HOLD_S = 0.3
"""A voice, or clipping, is shown for this long."""


class Meter:
    """Level, voice and clipping of a source. One thread follows it, any may read, and neither waits for the other.

    Where audio stops coming, the meter falls.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = ""
        """Of the source; empty until it is heard."""
        self.too_short = 0
        """Bursts of voice so far that were too short for an utterance."""
        self._clock = clock
        self._peak = (SILENT_DBFS, -math.inf)
        """Level, and when: replaced together."""
        self._voice_at_s = self._clipping_at_s = -math.inf

    def follow(self, samples: Waveform, voiced: bool = False) -> None:
        """Take the next ``float32[n]`` (16 kHz, ±1), and whether voice activity hears a voice in it."""
        if not len(samples):
            return
        now_s = self._clock()
        self._peak = (max(level(samples), self.level_dbfs), now_s)
        if voiced:
            self._voice_at_s = now_s
        if peak(samples) >= FULL_SCALE:
            self._clipping_at_s = now_s

    @property
    def level_dbfs(self) -> float:
        """Up at once, down slowly; ``SILENT_DBFS`` at least."""
        peak_dbfs, at_s = self._peak
        return max(SILENT_DBFS, peak_dbfs - FALL_DB_PER_S * (self._clock() - at_s))

    @property
    def hears_voice(self) -> bool:
        """Voice activity heard a voice just now."""
        return self._clock() - self._voice_at_s < HOLD_S

    @property
    def is_clipping(self) -> bool:
        """Samples were at full scale just now."""
        return self._clock() - self._clipping_at_s < HOLD_S
