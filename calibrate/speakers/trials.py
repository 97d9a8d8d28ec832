"""Voices for verification: one table of voiceprints, from which enrolments, tests and conversations are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from edge.arrays import Matrix
from edge.errors import UsageError

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Words = npt.NDArray[np.str_]

DURATIONS_S = (1, 2, 3, 5)
"""Whole clips are tested, and clips cut, or prolonged by others of the same emotion, to these."""
LEAST_TESTED, LEAST_KNOWN = 5, 2
"""Speakers of a corpus: of fewer than both together, none is held out."""


@dataclass(frozen=True)
class Voices:
    """Utterances of known speakers as voice activity detection delivers them; half of the clips only for enrolment."""

    prints: Matrix
    """``float32[n, dim]``, of unit length."""
    duration_s: npt.NDArray[np.float64]
    target_s: Rows
    """The duration it was cut to, 0 for a whole clip."""
    enrols: Mask
    """For enrolment; the others are for tests, and never share a clip with these."""
    speaker: Words
    corpus: Words
    gender: Words
    emotion: Words

    @property
    def neutral(self) -> Mask:
        """Spoken without emotion; RAVDESS calls most of it calm."""
        return np.isin(self.emotion, ("neutral", "calm"))

    @property
    def tests(self) -> Mask:
        """What is tested, whole or timed."""
        return ~self.enrols

    def select(self, rows: Mask) -> Voices:
        """Return the rows where ``rows`` is true."""
        return Voices(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_enrolment(voices: Voices, speaker: str, count: int, rng: np.random.Generator, neutral: bool = False) -> Rows:
    """Draw enrolment clips of a speaker: of as many emotions as possible, or all neutral."""
    wanted = voices.enrols & (voices.target_s == 0) & (voices.speaker == speaker)
    if neutral:
        wanted &= voices.neutral
    clips = rng.permutation(np.flatnonzero(wanted))
    drawn: Counter[str] = Counter()
    rounds = []
    for emotion in voices.emotion[clips].tolist():
        rounds.append(drawn[emotion])
        drawn[emotion] += 1
    return clips[np.argsort(rounds, kind="stable")][:count]


def hold_out(voices: Voices, share: float, rng: np.random.Generator) -> tuple[Voices, Voices]:
    """Draw a share of each corpus's speakers, at least five, and return the voices of the others and theirs.

    Raises:
        UsageError: no corpus has the seven speakers that testing five and knowing two takes.
    """
    held: list[str] = []
    counts = {}
    for corpus, mine in by_corpus(voices):
        speakers = np.unique(mine.speaker)
        counts[corpus] = len(speakers)
        if len(speakers) >= LEAST_TESTED + LEAST_KNOWN:
            most = min(round(share * len(speakers)), len(speakers) - LEAST_KNOWN)
            held += rng.permutation(speakers)[: max(LEAST_TESTED, most)].tolist()
    if not held:
        found = ", ".join(f"{corpus} {count}" for corpus, count in counts.items())
        raise UsageError(
            f"a corpus of at least {LEAST_TESTED + LEAST_KNOWN} speakers is needed, of whom {LEAST_TESTED} are held "
            f"out; the corpora have {found}"
        )
    out = np.isin(voices.speaker, held)
    return voices.select(~out), voices.select(out)


def by_corpus(voices: Voices) -> Iterator[tuple[str, Voices]]:
    """Yield each corpus and its voices."""
    for corpus in np.unique(voices.corpus).tolist():
        yield corpus, voices.select(voices.corpus == corpus)
