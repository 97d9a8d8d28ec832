"""What a precision costs in right answers, utterance by utterance, and whether chance explains as much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibrate.dataset import Rows
from calibrate.trained import Answers

DRAWS = 100_000


@dataclass(frozen=True)
class Drop:
    """What the answers of a corpus lost against those of the float version to the same utterances."""

    ua: float
    """UA of the float version less the final one's."""
    lost: int
    """Answers that were right and are wrong now."""
    gained: int
    """Answers that were wrong and are right now."""
    utterances: int
    chance: float
    """Probability of so large a drop where a changed answer is as likely lost as gained."""

    def __str__(self) -> str:
        return f"of {self.utterances} answers {self.lost} lost and {self.gained} gained, p = {self.chance:.2g}"


def drops(floating: Answers, found: Answers) -> Mapping[str, Drop]:
    """Compare the answers of two versions to the same utterances, by corpus."""
    part = found.part
    before, after = (answers.probabilities.argmax(axis=1) == part.labels for answers in (floating, found))
    return {
        str(corpus): _drop(part.labels[rows], before[rows], after[rows])
        for corpus in dict.fromkeys(part.corpora.tolist())
        if (rows := part.corpora == corpus).any()
    }


def _drop(labels: Rows, before: Rows, after: Rows) -> Drop:
    """Judge by a paired sign-flip test, one-sided; where all labels are as frequent, it is McNemar's exact one."""
    present, place, support = np.unique(labels, return_inverse=True, return_counts=True)
    lost, gained = (
        np.bincount(place[changed], minlength=len(present)) for changed in (before & ~after, after & ~before)
    )
    weights = 1 / (len(present) * support)
    drop = float((lost - gained) @ weights)
    changed = lost + gained
    drawn = np.random.default_rng(0).binomial(changed, 0.5, (DRAWS, len(present)))
    chance = np.mean((2 * drawn - changed) @ weights >= drop - 1e-9)
    return Drop(drop, int(lost.sum()), int(gained.sum()), len(labels), float(chance))
