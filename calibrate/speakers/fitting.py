"""Fitting the calibration of a speaker encoder, on speakers of known corpora."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from calibrate.speakers.trials import Mask, Voices, by_corpus, draw_enrolment
from edge.arrays import Doubles, Matrix
from edge.cohort import TYPICAL_PRINTS, Cohort, own_likeness
from edge.errors import UsageError
from edge.speaker import FEATURES, EnrolledVoices, VoiceCalibration

COUNTS = (1, 2, 4, 8)
"""Enrolment clips."""
TRIAL_TESTS = 60
"""Tests of each speaker per enrolment."""


def fit_calibration(voices: Voices, seed: int = 0, cohort: Matrix | None = None) -> VoiceCalibration:
    """Fit on all speakers given. A corpus of one speaker adds nothing.

    Args:
        voices: of known speakers.
        seed: of the trials drawn.
        cohort: ``float32[voices, dim]`` of other people, from the same encoder.

    Raises:
        UsageError: no corpus has two speakers with clips to enrol and clips to test.
    """
    rng = np.random.default_rng(seed)
    compared = None if cohort is None else Cohort(cohort, _typical(voices, cohort, rng))
    trials, targets, weights = [], [], []
    for _, mine in by_corpus(voices):
        found = _trials(mine, rng, compared)
        features, is_target = (np.concatenate(column) for column in zip(*found, strict=True))
        if is_target.all() or not is_target.any():
            continue
        trials.append(features)
        targets.append(is_target)
        weights.append(np.where(is_target, 1 / is_target.sum(), 1 / (~is_target).sum()))
    if not trials:
        raise UsageError("no corpus has two training speakers of at least two clips each to fit the calibration on")
    # Both classes weigh the same, so the log odds are log likelihood ratios.
    weight = np.concatenate(weights)
    regression = LogisticRegression(C=1e3, fit_intercept=False, max_iter=2_000)
    regression.fit(np.concatenate(trials), np.concatenate(targets), sample_weight=weight * len(weight) / weight.sum())
    return VoiceCalibration(regression.coef_[0].astype(np.float64), compared)


def _typical(voices: Voices, cohort: Matrix, rng: np.random.Generator) -> float:
    """Return the mean over people of what the prints of an enrolment have in common; every corpus counts the same."""
    centred = Cohort(cohort, 0.0).centred(voices.prints)
    means = []
    for _, mine in by_corpus(replace(voices, prints=centred)):
        people = np.unique(mine.speaker).tolist()
        enrolments = [draw_enrolment(mine, person, TYPICAL_PRINTS, rng) for person in people]
        found = [own_likeness(mine.prints[clips]) for clips in enrolments if len(clips) > 1]
        means += [np.mean(found)] if found else []
    return float(np.mean(means)) if means else 0.0


def _trials(voices: Voices, rng: np.random.Generator, cohort: Cohort | None) -> Iterator[tuple[Doubles, Mask]]:
    """Yield features of enrolments against everyone's tests, and which of them are of the same person."""
    speakers = np.unique(voices.speaker).tolist()
    rows = np.concatenate([
        rng.permutation(np.flatnonzero(voices.tests & (voices.speaker == speaker)))[:TRIAL_TESTS]
        for speaker in speakers
    ])  # fmt: skip
    for count in COUNTS:
        for neutral in (False, True):
            drawn = {person: draw_enrolment(voices, person, count, rng, neutral) for person in speakers}
            clips = {person: mine for person, mine in drawn.items() if len(mine)}
            enrolled = EnrolledVoices([voices.prints[mine] for mine in clips.values()], cohort)
            features = enrolled.features(voices.prints[rows], voices.duration_s[rows])
            is_same = voices.speaker[rows] == np.array(list(clips), np.str_)[:, None]
            yield features.reshape(-1, FEATURES), is_same.ravel()
