"""When in a pause an answer is given: as soon as it can be, or later where people mostly go on."""

from __future__ import annotations

STEP_FRAMES = 2.0


class Pauses:
    """A source's pauses so far. The wait rises with every answer withdrawn and falls with every final one.

    It settles where ``withdrawn_share`` of the answers are withdrawn (Robbins and Monro 1951).
    """

    def __init__(self, least_frames: int, most_frames: int, withdrawn_share: float) -> None:
        self._least, self._most, self._share = least_frames, max(least_frames, most_frames), withdrawn_share
        self._wait = float(least_frames)

    @property
    def wait_frames(self) -> int:
        """Silence after which an answer is given."""
        return round(self._wait)

    def follow(self, withdrawn: bool) -> None:
        """Take what became of an answer."""
        step = 1 - self._share if withdrawn else -self._share
        self._wait = min(max(self._wait + STEP_FRAMES * step, self._least), self._most)
