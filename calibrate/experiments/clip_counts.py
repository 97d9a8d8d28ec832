"""Speakers with too few clips for an experiment are left out, which is said; that nobody is left is an error."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from calibrate.bootstrap import Names
from edge.errors import UsageError

logger = logging.getLogger(__name__)

MOST_NAMES = 6
"""Speakers that a message names."""


def speakers_with_clips(corpora: Names, speakers: Names, least: int, purpose: str) -> tuple[Names, list[str]]:
    """Return who has clips enough, and what to say of the others, which is logged too.

    Args:
        corpora: of each clip, ``str[n]``.
        speakers: of each clip, ``str[n]``.
        least: clips of a speaker.
        purpose: what so many are for: ``8 to enrol with and one to speak``.

    Raises:
        UsageError: nobody has so many.
    """
    clips: dict[str, Counter[str]] = defaultdict(Counter)
    for corpus, speaker in zip(corpora.tolist(), speakers.tolist(), strict=True):
        clips[corpus][speaker] += 1
    enough = [speaker for counts in clips.values() for speaker, count in counts.items() if count >= least]
    if not enough:
        found = ", ".join(f"{corpus} has {_most(counts)}" for corpus, counts in clips.items())
        raise UsageError(f"no speaker has {least} clips, {purpose}: {found}")
    left_out = []
    for corpus, counts in clips.items():
        few = [f"{speaker} ({count})" for speaker, count in counts.items() if count < least]
        if len(few) == len(counts):
            left_out.append(f"{corpus} is left out: it has {_most(counts)}, and {least} are needed, {purpose}")
        elif few:
            left_out.append(f"{corpus}: left out for fewer than {least} clips, {purpose}: {listed(few)}")
    for text in left_out:
        logger.warning("%s", text)
    return np.array(enough, np.str_), left_out


def listed(names: Sequence[str]) -> str:
    """Return names as a list that is not too long."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _most(counts: Counter[str]) -> str:
    most = max(counts.values())
    return f"{len(counts)} speaker{'s' * (len(counts) > 1)} of at most {most} clip{'s' * (most > 1)}"
