"""How far what someone says is from how they usually sound."""

from __future__ import annotations

import numpy as np

from edge.adapt import VoiceProfile
from edge.arrays import Matrix
from edge.head import Head

LEAST_PROBABILITY = 1e-3
"""So that no label is infinitely far from any other."""


def log_odds(probabilities: Matrix) -> Matrix:
    """Return ``log(p / (1 - p))`` of probabilities of any shape, at most some seven in size."""
    clipped = np.clip(probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    odds: Matrix = np.log(clipped / (1 - clipped)).astype(np.float32)
    return odds


def usual_log_odds(head: Head, voice_profile: VoiceProfile, clips: Matrix) -> Matrix | None:
    """Return how someone sounds on the whole: the mean log-odds ``float32[labels]`` of their enrolment clips.

    Args:
        head: of the bundle.
        voice_profile: the person's, which is applied to the clips.
        clips: embeddings ``float32[n, dim]``; None is returned without any.
    """
    if not len(clips):
        return None
    mean: Matrix = log_odds(head.probabilities(clips - voice_profile.offset(voice_profile.room))).mean(axis=0)
    return mean
