"""Arousal and valence of a label, by Russell's circumplex: for demonstration, where nobody has annotated them.

Russell (1980), "A circumplex model of affect", Journal of Personality and Social Psychology 39(6), orders 28 words
around a circle (Ross' technique, his figure 2). Valence is the cosine and arousal the sine of a word's angle; neutral,
in the middle of the circle, is 0 of both. Labels that are none of his words, such as disgust, have neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

ANGLES = {
    "happy": 7.8,
    "surprise": 69.8,  # his astonished
    "angry": 99.0,
    "fear": 116.0,  # his afraid
    "frustration": 141.1,
    "sad": 207.5,
    "boredom": 241.9,
    "calm": 316.2,
}
"""Degrees, counter-clockwise from pleasure; arousal is at 90."""
SCALE = (-1.0, 1.0)
CIRCUMPLEX: Mapping[str, Mapping[str, float]] = {
    "neutral": {"arousal": 0.0, "valence": 0.0},
    **{
        label: {"arousal": math.sin(math.radians(angle)), "valence": math.cos(math.radians(angle))}
        for label, angle in ANGLES.items()
    },
}
"""Label to value to where it lies on ``SCALE``."""
DERIVABLE = ("arousal", "valence")
