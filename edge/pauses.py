"""How long to wait in a pause, for the answer and for the end of the utterance, learnt from the source's pauses."""

from __future__ import annotations

from edge.settings import SegmenterSettings
from edge.vad import FRAME_S

STEP_FRAMES = 2.0
AUTO_END_S = (0.3, 0.8)
"""Bounds of an end silence that adapts."""
COUNTED_S = (0.12, 1.0)
"""Pauses that it adapts to: shorter ones belong to the words, and after longer ones it is somebody's turn."""
LONGER_SHARE = 0.1
"""Of these, those that end the utterance although the voice goes on."""


class Pauses:
    """A source's pauses so far. Both waits follow a share by stochastic approximation (Robbins and Monro 1951).

    An answer waits for longer with every one withdrawn, and for less with every final one, so that ``withdrawn_share``
    of them are withdrawn. An end silence that adapts is longer than nine in ten pauses, in utterances and between them.
    """

    def __init__(self, settings: SegmenterSettings, longest_frames: int) -> None:
        """Prepare; no pause is waited in for longer than ``longest_frames``."""
        self._settings, self._longest = settings, longest_frames
        self._least = max(1, whole_frames(settings.tail_s))
        self._answer, self._end = float(self._least), settings.first_end_silence_s / FRAME_S

    @property
    def answer_frames(self) -> int:
        """Silence after which an answer is given: with the tail, and before the end if it can be."""
        return min(max(self._least, min(round(self._answer), self.end_frames - 1)), self.end_frames)

    @property
    def end_frames(self) -> int:
        """Silence after which the utterance is over."""
        return max(1, min(round(self._end), self._longest))

    def answered(self, withdrawn: bool) -> None:
        """Take what became of an answer."""
        share = self._settings.withdrawn_share
        step = STEP_FRAMES * (1 - share if withdrawn else -share)
        self._answer = min(max(self._answer + step, self._least), self._end)

    def voiced_again(self, frames: float) -> None:
        """Take a pause that is over."""
        shortest_s, longest_s = COUNTED_S
        if self._settings.end_silence_s == "auto" and shortest_s <= frames * FRAME_S < longest_s:
            step = STEP_FRAMES * (1 - LONGER_SHARE if frames >= self._end else -LONGER_SHARE)
            low_s, high_s = AUTO_END_S
            self._end = min(max(self._end + step, low_s / FRAME_S), high_s / FRAME_S)


def whole_frames(most_s: float) -> int:
    """Return how many frames fit into a duration."""
    return int(most_s / FRAME_S + 1e-9)
