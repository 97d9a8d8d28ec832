"""A stranger who goes on speaking: a voice profile from their utterances so far, only in memory."""

from __future__ import annotations

from collections import deque

import numpy as np

from edge.adapt import VoiceProfile
from edge.arrays import Matrix
from edge.bundle import Bundle
from edge.recognizer import Encoding

MOST_UTTERANCES = 16
"""The latest, which the voice profile is estimated from."""
SAME_VOICE = 0.0
"""Log likelihood ratio from which on a stranger is the one who spoke before."""


class StrangerMemory:
    """The utterances of a conversation's stranger; another voice, or a pause of ``forget_s``, is another stranger."""

    def __init__(self, bundle: Bundle, forget_s: float) -> None:
        self._bundle, self._forget_s = bundle, forget_s
        self._utterances: deque[Encoding] = deque(maxlen=MOST_UTTERANCES)

    def reset(self) -> None:
        """Forget the stranger."""
        self._utterances.clear()

    def follow(self, encoding: Encoding, pause_s: float, room: Matrix) -> VoiceProfile | None:
        """Take a stranger's next utterance; return the voice profile of those before it, None if there are none.

        ``room`` is the offset ``float32[dim]`` of the room they are in.
        """
        if pause_s > self._forget_s or not self._is_same(encoding):
            self.reset()
        before = [utterance.embedding for utterance in self._utterances]
        self._utterances.append(encoding)
        if not before:
            return None
        return VoiceProfile.estimate(self._bundle.population, self._bundle.head, np.stack(before), room=room)

    def _is_same(self, encoding: Encoding) -> bool:
        calibration = self._bundle.calibration
        prints = [utterance.voiceprint for utterance in self._utterances if utterance.voiceprint is not None]
        if calibration is None or encoding.voiceprint is None or not prints:
            return True
        durations_s = np.array([encoding.duration_s])
        ratio = calibration.log_ratios(np.stack(prints), encoding.voiceprint[None], durations_s)[0]
        return bool(ratio >= SAME_VOICE)
