"""Scores of speakers, and their means with intervals over them."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from calibrate.bootstrap import Estimate, drawn_counts
from calibrate.experiments.pldc.categorical import Condition, Score
from calibrate.streams import Kind
from edge.arrays import Doubles

Setting = Literal["left out", "folds"]
Answering = Literal["own labels", "any label"]
Measure = Literal["wa", "ua", "loss"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)
ANSWERING: tuple[Answering, ...] = get_args(Answering)
MEASURES: tuple[Measure, ...] = get_args(Measure)
DRAWS = 2_000
"""Of speakers, for an interval."""
MEAN = "mean"
"""Over the corpora, in the place of a corpus."""


@dataclass(frozen=True)
class Case:
    """What speakers are scored in."""

    setting: str
    """How the model came to be that answers: a ``Setting``, or the name of an encoder."""
    answering: Answering
    corpus: str
    kind: Kind


Scores = dict[Condition, list[Score]]
"""By condition, one score a draw."""


@dataclass
class Collected:
    """Scores of every case, by speaker."""

    scores: dict[Case, dict[str, Scores]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    )
    enrolled: dict[Case, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Clips of each enrolment."""

    def add(self, case: Case, speaker: str, scored: Mapping[Condition, Score], enrolled: int) -> None:
        """Take one draw."""
        for condition, score in scored.items():
            self.scores[case][speaker][condition].append(score)
        self.enrolled[case].append(enrolled)

    def conditions(self) -> list[Condition]:
        """Return all conditions."""
        return list(next(iter(next(iter(self.scores.values())).values())))

    def corpora(self, setting: str) -> list[str]:
        """Return the corpora of a setting."""
        return list(dict.fromkeys(case.corpus for case in self.scores if case.setting == setting))

    def estimate(self, case: Case, condition: Condition, measure: Measure) -> Estimate:
        """Return the mean over a corpus's speakers, or over corpora where the case's is ``MEAN``."""
        if case.corpus == MEAN:
            cases = [Case(case.setting, case.answering, corpus, case.kind) for corpus in self.corpora(case.setting)]
            return Estimate.mean([self.estimate(each, condition, measure) for each in cases])
        values = np.array([
            np.mean([getattr(score, measure) for score in scores[condition]]) for scores in self.scores[case].values()
        ])  # fmt: skip
        drawn = _counts(len(values)) @ values / len(values) if len(values) > 1 else None
        return Estimate(float(values.mean()), drawn)

    def gain(self, case: Case, condition: Condition, measure: Measure, over: Condition) -> Estimate:
        """Return what a condition adds to another one, of the same speakers."""
        return self.estimate(case, condition, measure) - self.estimate(case, over, measure)

    def clips(self, case: Case) -> float:
        """Return how many clips enrol, in the mean."""
        return float(np.mean(self.enrolled[case]))


@functools.cache
def _counts(speakers: int) -> Doubles:
    """Return how often each speaker is drawn, ``float64[DRAWS, speakers]``: the same in every condition."""
    return drawn_counts(speakers, DRAWS).astype(np.float64)


def cases_of(setting: str, answering: Answering, corpora: Sequence[str], kind: Kind) -> list[Case]:
    """Return the cases of these corpora, and their mean."""
    return [Case(setting, answering, corpus, kind) for corpus in (*corpora, MEAN)]
