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

    def voice_profile(self, encoding: Encoding, pause_s: float, room: Matrix) -> VoiceProfile | None:
        """Return the voice profile of the stranger's utterances before this one, None if there are none.

        ``room`` is the offset ``float32[dim]`` of the room they are in.
        """
        if not self._utterances or self._is_another(encoding, pause_s):
            return None
        before = [utterance.embedding for utterance in self._utterances]
        return VoiceProfile.estimate(self._bundle.population, self._bundle.head, np.stack(before), room=room)

    def follow(self, encoding: Encoding, pause_s: float) -> None:
        """Take a stranger's next utterance, once it is over."""
        if self._is_another(encoding, pause_s):
            self.reset()
        self._utterances.append(encoding)

    def _is_another(self, encoding: Encoding, pause_s: float) -> bool:
        return pause_s > self._forget_s or not self._is_same(encoding)

    def _is_same(self, encoding: Encoding) -> bool:
        calibration = self._bundle.calibration
        prints = [utterance.voiceprint for utterance in self._utterances if utterance.voiceprint is not None]
        if calibration is None or encoding.voiceprint is None or not prints:
            return True
        durations_s = np.array([encoding.duration_s])
        ratio = calibration.log_ratios(np.stack(prints), encoding.voiceprint[None], durations_s)[0]
        return bool(ratio >= SAME_VOICE)
