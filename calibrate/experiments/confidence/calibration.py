"""How far a model's confidence can be trusted, and from which confidence on its answers reach a wanted accuracy.

Everything is fitted on validation speakers and reported on test speakers: the temperature (Guo et al. 2017, section
4.2), the reliability diagram (DeGroot and Fienberg 1983), the coverage-accuracy curve of a classifier that may abstain
(El-Yaniv and Wiener 2010) and the review threshold. Every corpus weighs the same, and every label within it, since the
mix of labels in use is not that of a corpus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from calibrate.bootstrap import LEVEL, UNKNOWN, drawn_counts
from calibrate.metrics import Probabilities, calibration_error
from calibrate.trained import Answers
from calibrate.training.temperature import fit_temperature
from edge.arrays import Doubles, percentile_interval, softmax

BINS = 15
DRAWS = 2_000
TEMPERATURES = ("uncalibrated", "as shipped", "fitted")
"""Temperature 1, the model's own, and that with the least balanced loss on the validation speakers."""


@dataclass(frozen=True)
class Confidences:
    """The answers of a model as far as their confidence goes."""

    confidence: Doubles
    """``float64[utterances]``, probability of the label answered."""
    right: npt.NDArray[np.bool_]
    weights: Doubles
    """Sum to one; every corpus weighs the same, and every label within it."""
    speakers: npt.NDArray[np.str_]

    @classmethod
    def of(cls, answers: Answers) -> Confidences:
        """Reduce answers to confidences."""
        part, probabilities = answers.part, answers.probabilities
        right = probabilities.argmax(axis=1) == part.labels
        confidence = probabilities.max(axis=1).astype(np.float64)
        return cls(confidence, right, part.balanced_weights(), part.speakers)


@dataclass(frozen=True)
class OperatingPoint:
    """What happens at a review threshold."""

    coverage: float
    """Share of the utterances that are answered without review."""
    accuracy: float
    """Share of these that are right; not a number when there are none."""


@dataclass(frozen=True)
class Reliability:
    """Accuracy against confidence, for the bins that hold anything."""

    confidence: Doubles
    """``float64[bins]``, mean within the bin."""
    accuracy: Doubles
    mass: Doubles
    """Share of the utterances in the bin; sums to one."""

    @property
    def error(self) -> float:
        """Expected calibration error (Guo et al. 2017, equation 3)."""
        return float(self.mass @ np.abs(self.accuracy - self.confidence))


@dataclass(frozen=True)
class Calibration:
    """What was fitted on validation speakers, and how it does on test speakers."""

    temperature: float
    """The model's own."""
    fitted_temperature: float
    reliability: dict[str, Reliability]
    """By ``TEMPERATURES``, on the test speakers."""
    corpus_error: dict[str, dict[str, float]]
    """Corpus to expected calibration error by ``TEMPERATURES``, each utterance weighing the same."""
    wanted: float
    threshold: float | None
    """Review threshold for the model's own confidence; None when no threshold reaches the wanted accuracy."""
    validation: Confidences
    test: Confidences

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the test accuracy at the threshold, by a bootstrap over speakers."""
        assert self.threshold is not None
        return accuracy_interval(self.test, self.threshold)


def calibrate(validation: Answers, test: Answers, temperature: float, wanted: float) -> Calibration:
    """Fit temperature and review threshold to the one, measure both on the other.

    Args:
        validation: answers to validation speakers.
        test: answers to test speakers.
        temperature: that made the probabilities of both.
        wanted: accuracy above the threshold.
    """
    logits = torch.from_numpy(np.log(np.maximum(validation.probabilities, 1e-12)))
    fitted = temperature * fit_temperature(logits, validation.part)
    scaled = {
        name: rescaled(test.probabilities, temperature / target)
        for name, target in zip(TEMPERATURES, (1.0, temperature, fitted), strict=True)
    }
    corpora = {
        str(corpus): {
            name: calibration_error(probabilities[rows], test.part.labels[rows], BINS)
            for name, probabilities in scaled.items()
        }
        for corpus in dict.fromkeys(test.part.corpora.tolist())
        if (rows := test.part.corpora == corpus).any()
    }
    tuning = Confidences.of(validation)
    return Calibration(
        temperature=temperature,
        fitted_temperature=fitted,
        reliability={name: reliability(Confidences.of(Answers(test.part, shares))) for name, shares in scaled.items()},
        corpus_error=corpora,
        wanted=wanted,
        threshold=review_threshold(tuning, wanted),
        validation=tuning,
        test=Confidences.of(test),
    )


def rescaled(probabilities: Probabilities, power: float) -> Probabilities:
    """Return ``float32[n, labels]`` as they would be with the temperature divided by ``power``."""
    logits = power * np.log(np.maximum(probabilities.astype(np.float64), 1e-12))
    return softmax(logits).astype(np.float32)


def reliability(answers: Confidences, bins: int = BINS) -> Reliability:
    """Return accuracy by confidence in bins of equal width."""
    which = np.minimum((answers.confidence * bins).astype(int), bins - 1)
    mass = np.bincount(which, answers.weights, bins)
    used = mass > 0
    confidence = np.bincount(which, answers.weights * answers.confidence, bins)[used] / mass[used]
    accuracy = np.bincount(which, answers.weights * answers.right, bins)[used] / mass[used]
    return Reliability(confidence, accuracy, mass[used] / mass.sum())


def coverage_curve(answers: Confidences) -> tuple[Doubles, Doubles, Doubles]:
    """Return thresholds from low to high, and coverage and accuracy of what reaches each, ``float64[thresholds]``."""
    order = np.argsort(-answers.confidence, kind="stable")
    confidence, weights = answers.confidence[order], answers.weights[order]
    covered = np.cumsum(weights)
    right = np.cumsum(weights * answers.right[order])
    # Utterances of equal confidence pass together.
    last = np.append(np.flatnonzero(np.diff(confidence)), len(confidence) - 1)
    return confidence[last][::-1], (covered[last] / covered[-1])[::-1], (right[last] / covered[last])[::-1]


def review_threshold(answers: Confidences, wanted: float) -> float | None:
    """Return the lowest threshold, in thousandths, from which on the wanted accuracy is reached; None if none is."""
    thresholds, _, accuracies = coverage_curve(answers)
    if accuracies[0] >= wanted:
        return 0.0
    for threshold in np.unique(np.ceil(thresholds * 1000) / 1000):
        if operating_point(answers, float(threshold)).accuracy >= wanted:
            return float(threshold)
    return None


def operating_point(answers: Confidences, threshold: float) -> OperatingPoint:
    """Return coverage and accuracy at a threshold."""
    kept = answers.confidence >= threshold
    coverage = float(answers.weights[kept].sum() / answers.weights.sum())
    if not kept.any():
        return OperatingPoint(0.0, math.nan)
    return OperatingPoint(coverage, float(np.average(answers.right[kept], weights=answers.weights[kept])))


def accuracy_interval(answers: Confidences, threshold: float, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile interval of the accuracy at a threshold, speakers drawn with replacement."""
    kept = answers.confidence >= threshold
    names, who = np.unique(answers.speakers, return_inverse=True)
    if len(names) < 2:
        return UNKNOWN
    covered = np.bincount(who, answers.weights * kept, len(names))
    right = np.bincount(who, answers.weights * kept * answers.right, len(names))
    times = drawn_counts(len(names), DRAWS, seed)
    reached = times @ covered
    accuracies = (times @ right)[reached > 0] / reached[reached > 0]
    return percentile_interval(accuracies, LEVEL) if len(accuracies) else UNKNOWN
