"""Two models on the same utterances: is the one better for speakers in general, or for these by chance?

The speaker is the unit, since clips of one speaker are not independent: per speaker the difference of UA, its mean, a
sign-flip permutation test of no difference, and a bootstrap interval over speakers (Good 2005, "Permutation, Parametric
and Bootstrap Tests of Hypotheses").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrate.bootstrap import mean_interval
from calibrate.experiments.selection import Mask
from calibrate.metrics import unweighted_accuracy
from calibrate.trained import Answers
from edge.arrays import Doubles
from edge.errors import UsageError

EXACT_SPEAKERS = 16
"""Up to so many the permutation test goes through all sign flips; beyond, through ``DRAWS`` of them."""
DRAWS = 20_000
EVERYONE = "all speakers"


@dataclass(frozen=True)
class Comparison:
    """Two models on the same utterances of some speakers."""

    speakers: int
    utterances: int
    ua: tuple[float, float]
    """Of all utterances together, A and B."""
    speaker_ua: tuple[float, float]
    """Mean over speakers of their UA, A and B."""
    gain: float
    """Mean over speakers of UA of B minus UA of A."""
    low: float
    high: float
    """95 % bootstrap interval of the gain, over speakers."""
    p: float
    """Two-sided, of a gain at least as large when neither model is better; at best 2 / 2^speakers."""
    better: int
    """Speakers for whom B is better."""
    worse: int


def compare(a: Answers, b: Answers, seed: int = 0) -> tuple[dict[str, Comparison], dict[str, tuple[float, float]]]:
    """Compare per corpus, and over all speakers when there are several corpora; returns UA by speaker as well.

    Args:
        a: answers of the one model.
        b: answers of the other, with the same labels in the same order, to any of the same utterances.
        seed: of the draws.

    Raises:
        UsageError: the models could read no utterance in common.
    """
    a, b = in_common(a, b)
    part = a.part
    predicted = [answers.probabilities.argmax(axis=1) for answers in (a, b)]

    def ua_of(rows: Mask) -> tuple[float, float]:
        ours, theirs = (unweighted_accuracy(labels[rows], part.labels[rows]) for labels in predicted)
        return ours, theirs

    by_speaker = {str(speaker): ua_of(part.speakers == speaker) for speaker in np.unique(part.speakers)}
    corpora = list(dict.fromkeys(part.corpora.tolist()))
    groups = {corpus: part.corpora == corpus for corpus in corpora}
    if len(corpora) > 1:
        groups[EVERYONE] = np.ones(len(part.labels), bool)
    found = {}
    for name, rows in groups.items():
        pairs = np.array([by_speaker[speaker] for speaker in np.unique(part.speakers[rows]).tolist()])
        gains = pairs[:, 1] - pairs[:, 0]
        low, high = mean_interval(gains, seed)
        found[name] = Comparison(
            speakers=len(pairs),
            utterances=int(rows.sum()),
            ua=ua_of(rows),
            speaker_ua=(float(pairs[:, 0].mean()), float(pairs[:, 1].mean())),
            gain=float(gains.mean()),
            low=low,
            high=high,
            p=sign_flip_test(gains, seed),
            better=int((gains > 0).sum()),
            worse=int((gains < 0).sum()),
        )
    return found, by_speaker


def in_common(a: Answers, b: Answers) -> tuple[Answers, Answers]:
    """Return both answers on the utterances that both could read, in the order of the first."""
    places = {path: row for row, path in enumerate(b.part.paths)}
    rows = [row for row, path in enumerate(a.part.paths) if path in places]
    if not rows:
        raise UsageError("the models have no readable utterance in common")
    kept = np.zeros(len(a.part.paths), bool)
    kept[rows] = True
    part = a.part.select(kept)
    return (
        Answers(part, a.probabilities[rows]),
        Answers(part, b.probabilities[[places[path] for path in part.paths]]),
    )


def sign_flip_test(differences: Doubles, seed: int = 0) -> float:
    """Return the two-sided p of a mean difference that is zero in truth, by flipping the signs of ``float64[n]``.

    All flips for few speakers, which is exact; a seeded draw of them, itself counted as one, for many.
    """
    count = len(differences)
    if count <= EXACT_SPEAKERS:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        extra = 0
    else:
        signs = np.random.default_rng(seed).choice((-1, 1), size=(DRAWS, count))
        extra = 1
    # Rounding must not make a flip smaller than the sum that it equals.
    reached = np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12
    return float((reached.sum() + extra) / (len(signs) + extra))
