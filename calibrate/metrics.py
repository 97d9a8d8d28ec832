"""Metrics: of labels, from predicted probabilities and true ones; of values, from estimates and annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from calibrate.bootstrap import Agreement, Interval, Tally, mean_interval
from edge.arrays import Doubles

Probabilities = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
ENOUGH_CLIPS = 10
"""Of a speaker, for a concordance of their own."""


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one label."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Figures:
    """What an evaluation says about one set of utterances. All are shares, 0 to 1."""

    utterances: int
    speakers: int
    ua: float
    """Unweighted accuracy: mean recall over the labels that occur."""
    wa: float
    """Weighted accuracy: share of utterances right."""
    macro_f1: float
    ece: float
    """Expected calibration error, 15 equal-width bins (Guo et al. 2017)."""
    speaker_ua: dict[str, float]
    worst_decile: float
    """Mean UA of the worst tenth of the speakers, at least one."""
    classes: dict[str, ClassFigures]
    confusion: list[list[int]]
    """Rows are true labels, columns predicted ones."""
    gender_ua: dict[str, float] = field(default_factory=dict)
    """UA of the utterances of each known gender, ``f`` and ``m``."""
    ua_interval: tuple[float, float] | None = None
    """95 % interval of UA over speakers; None for one speaker."""
    worst_utterances: int | None = None
    """Of the speakers behind ``worst_decile``."""

    @property
    def never_recognised(self) -> list[str]:
        """Labels none of whose utterances is recognised."""
        return [label for label, row in self.classes.items() if row.recall == 0]

    @property
    def mean_speaker_ua(self) -> float:
        """Mean over speakers of their UA."""
        return float(np.mean(list(self.speaker_ua.values())))

    @property
    def gini(self) -> float:
        """Gini coefficient of the speakers' UA: 0 when all speakers are recognised equally well."""
        return gini_coefficient(list(self.speaker_ua.values()))


def unweighted_accuracy(predicted: Indices, true: Indices) -> float:
    """Return the mean recall over the labels that occur in ``true``."""
    return float(np.mean([(predicted[true == label] == label).mean() for label in np.unique(true)]))


def calibration_error(probabilities: Probabilities, true: Indices, bins: int = 15) -> float:
    """Return the expected calibration error of the top label (Guo et al. 2017, equation 3)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == true
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for index in np.unique(which):
        inside = which == index
        error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(error)


def gini_coefficient(values: Sequence[float]) -> float:
    """Return the mean absolute difference of all pairs over twice the mean (Gini 1912); 0 where all are 0."""
    shares = np.asarray(values, np.float64)
    mean = shares.mean()
    return float(np.abs(shares[:, None] - shares[None, :]).mean() / (2 * mean)) if mean > 0 else 0.0


def figures(
    probabilities: Probabilities,
    true: Indices,
    speakers: Sequence[str],
    labels: Sequence[str],
    genders: Sequence[str | None] | None = None,
) -> Figures:
    """Evaluate ``float32[utterances, labels]`` against ``int64[utterances]``.

    Labels that never occur in ``true`` count neither in UA nor in macro F1, but predicting them is an error.

    Args:
        probabilities: of each utterance.
        true: index of its label.
        speakers: who says it.
        labels: in the order of the columns.
        genders: of the speakers; None is unknown, and counts in no gender's UA.
    """
    predicted = probabilities.argmax(axis=1)
    present = np.unique(true)
    precision, recall, f1, support = precision_recall_fscore_support(true, predicted, labels=present, zero_division=0)
    speaker_ua = ua_by(speakers, predicted, true)
    worst = sorted(speaker_ua, key=speaker_ua.__getitem__)[: max(1, round(len(speaker_ua) / 10))]
    return Figures(
        utterances=len(true),
        speakers=len(speaker_ua),
        ua=float(recall.mean()),
        wa=float((predicted == true).mean()),
        macro_f1=float(f1.mean()),
        ece=calibration_error(probabilities, true),
        speaker_ua=speaker_ua,
        worst_decile=float(np.mean([speaker_ua[name] for name in worst])),
        classes={
            labels[label]: ClassFigures(float(precision[row]), float(recall[row]), float(f1[row]), int(support[row]))
            for row, label in enumerate(present)
        },
        confusion=confusion_matrix(true, predicted, labels=range(len(labels))).tolist(),
        gender_ua=ua_by([gender or "" for gender in genders or ()], predicted, true),
        ua_interval=Tally.of(predicted == true, true, np.asarray(speakers, np.str_)).interval(),
        worst_utterances=sum(name in worst for name in speakers),
    )


def ua_by(groups: Sequence[str] | npt.NDArray[np.str_], predicted: Indices, true: Indices) -> dict[str, float]:
    """Return UA of each group that has a name."""
    names = np.asarray(groups, np.str_)
    return {
        str(name): unweighted_accuracy(predicted[names == name], true[names == name])
        for name in np.unique(names)
        if name
    }


@dataclass(frozen=True)
class ValueFigures:
    """How well a value is estimated on one set of utterances, those whose true value is known."""

    utterances: int
    speakers: int
    origin: str
    """Where the true values come from, as the manifest of a bundle says it."""
    ccc: float
    """O-CCC: concordance over all utterances, -1 to 1."""
    r: float
    """Correlation (Pearson) over all utterances."""
    speaker_ccc: dict[str, float]
    """Of speakers with ``ENOUGH_CLIPS`` or more, and not all of the same true value."""
    ccc_interval: Interval | None = None
    """95 % interval over speakers; None for one speaker."""
    r_interval: Interval | None = None

    @property
    def mean_speaker_ccc(self) -> float | None:
        """A-CCC: mean over speakers of their concordance; None where nobody has enough clips."""
        return float(np.mean(list(self.speaker_ccc.values()))) if self.speaker_ccc else None

    @property
    def mean_speaker_interval(self) -> Interval | None:
        """95 % interval of that over speakers; None for fewer than two."""
        return mean_interval(np.array(list(self.speaker_ccc.values()))) if len(self.speaker_ccc) > 1 else None


def concordance(estimated: Doubles, true: Doubles) -> float:
    """Return the concordance correlation coefficient of ``float64[n]`` with ``float64[n]`` (Lin 1989, equation 1).

    1 is equality, 0 no agreement: unlike a correlation it falls with a wrong mean or a wrong spread. 0 where one of the
    two does not vary.
    """
    return Agreement.of(estimated, true, np.zeros(len(true), np.str_)).ccc


def value_figures(estimated: Doubles, true: Doubles, speakers: npt.NDArray[np.str_], origin: str) -> ValueFigures:
    """Evaluate estimates ``float64[n]`` of a value against what is true, ``float64[n]``, both in its range."""
    agreement = Agreement.of(estimated, true, speakers)
    intervals = agreement.intervals()
    own = {}
    for name in np.unique(speakers).tolist():
        mine = speakers == name
        if mine.sum() >= ENOUGH_CLIPS and np.ptp(true[mine]) > 0:
            own[name] = concordance(estimated[mine], true[mine])
    return ValueFigures(
        utterances=len(true),
        speakers=len(agreement.sums),
        origin=origin,
        ccc=agreement.ccc,
        r=agreement.r,
        speaker_ccc=own,
        ccc_interval=intervals and intervals[0],
        r_interval=intervals and intervals[1],
    )
