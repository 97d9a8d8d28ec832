"""How far what someone says is from how they usually sound."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge.adapt import VoiceProfile, adapted_probabilities
from edge.arrays import Matrix
from edge.head import Head

LEAST_PROBABILITY = 1e-3
"""So that no label is infinitely far from any other."""
UNUSUAL = 1.0
"""Change of a label's log-odds from which on someone sounds other than usual."""
AS_USUAL = "as usual"
MORE = {"neutral": "calmer", "happy": "happier", "sad": "sadder", "angry": "angrier"}
"""Than usual, in a word; other labels are called ``more`` so."""


def log_odds(probabilities: Matrix) -> Matrix:
    """Return ``log(p / (1 - p))`` of probabilities of any shape, at most some seven in size."""
    clipped = np.clip(probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    odds: Matrix = np.log(clipped / (1 - clipped)).astype(np.float32)
    return odds


def usual_log_odds(
    head: Head, voice_profile: VoiceProfile, clips: Matrix, ratio: Matrix | None = None
) -> Matrix | None:
    """Return how someone sounds on the whole: the mean log-odds ``float32[labels]`` of their enrolment clips.

    Args:
        head: of the bundle.
        voice_profile: the person's, which is applied to the clips.
        clips: embeddings ``float32[n, dim]``; None is returned without any.
        ratio: ``float32[labels]`` of the person's label prior, which is applied too; None: none is.
    """
    if not len(clips):
        return None
    shares = adapted_probabilities(head, clips, voice_profile.offset(voice_profile.room), ratio=ratio)
    mean: Matrix = log_odds(shares).mean(axis=0)
    return mean


def than_usual(relative: Mapping[str, float]) -> str:
    """Return in a word how else than usual someone sounds; ``relative`` is that of an ``Event``."""
    label, change_by = max(relative.items(), key=lambda item: item[1])
    return MORE.get(label, f"more {label}") if change_by >= UNUSUAL else AS_USUAL
