"""What is done without, step by step, while the encoder does not keep up, so that answers stay timely."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge.settings import Settings

SETTLE_S = 2.0
"""A step must have this long to show what it saves, before the next."""
LONGEST_CALM_S = 3_600.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reduction:
    """What is done without at a step, and at those before it."""

    message: str
    partials: bool = True
    """Partial answers are given."""
    longest_s: float = math.inf
    """Of an utterance so much is encoded, its end."""
    small: bool = False
    """The smaller model answers."""
    every: int = 1
    """One utterance of a source in so many is answered."""


def ladder(settings: Settings) -> list[Reduction]:
    """Return the steps that there are, from nothing on; without ``overload.enabled`` there is no other."""
    overload = settings.overload
    steps = [Reduction("nothing is left out")]
    if not overload.enabled:
        return steps
    if settings.partials.every_s:
        steps.append(Reduction("no partial answers", partials=False))
    if overload.longest_s < settings.segmenter.max_s:
        shorter = f"of an utterance its last {overload.longest_s:g} s count"
        steps.append(replace(steps[-1], message=shorter, partials=False, longest_s=overload.longest_s))
    if overload.bundle:
        smaller = f"the bundle {overload.bundle} answers"
        steps.append(replace(steps[-1], message=smaller, partials=False, small=True))
    if overload.every > 1:
        fewer = f"one utterance in {overload.every} is answered"
        steps.append(replace(steps[-1], message=fewer, partials=False, every=overload.every))
    return steps


class Overload:
    """Where on the ladder it is: down when somebody waits for too long, back up after a calm.

    What was given back too soon is given back after twice the time at the next attempt.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.step = 0
        """Of ``steps``; 0 does without nothing."""
        self.steps = ladder(settings)
        self.changes = 0
        """Steps taken so far, in either direction."""
        self._settings, self._clock = settings.overload, clock
        self._calm_s = self._settings.calm_s
        self._changed_at_s = self._late_at_s = -math.inf
        self._was_eased = False
        """The last step was back up."""

    @property
    def reduction(self) -> Reduction:
        """What is done without now."""
        return self.steps[self.step]

    def follow(self, waited_s: float) -> str | None:
        """Take how long the oldest utterance of a live source has waited; return what there is to say.

        One that was dropped has waited for ever; none, for no time.
        """
        now_s = self._clock()
        since_change_s = now_s - self._changed_at_s
        if waited_s > self._settings.wait_s:
            self._late_at_s = now_s
            if since_change_s >= SETTLE_S and self.step + 1 < len(self.steps):
                if self._was_eased:
                    self._calm_s = min(2 * self._calm_s, LONGEST_CALM_S)
                return self._go(1, now_s)
        elif self.step and min(since_change_s, now_s - self._late_at_s) >= self._calm_s:
            return self._go(-1, now_s)
        elif not self.step and since_change_s >= 10 * self._calm_s:
            self._calm_s, self._was_eased = self._settings.calm_s, False
        return None

    def _go(self, direction: int, now_s: float) -> str:
        self.step += direction
        self.changes += 1
        self._changed_at_s, self._was_eased = now_s, direction < 0
        why = "does not keep up" if direction > 0 else "keeps up again"
        message = f"the encoder {why}: {self.reduction.message} (step {self.step} of {len(self.steps) - 1})"
        logger.warning("%s", message)
        return message
