"""Fitting what a verifier needs: projection and calibration, on speakers of known corpora."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from calibrate.speakers.trials import Voices, by_corpus, draw_enrolment
from calibrate.speakers.voices import SpectrumProjection, fit_nuisance, fit_projection
from edge.arrays import Doubles, Matrix
from edge.errors import UsageError
from edge.speaker import VoiceCalibration, features

COUNTS = (1, 2, 4, 8)
"""Enrolment clips."""
TRIAL_TESTS = 60
"""Tests of each speaker per enrolment."""


@dataclass(frozen=True)
class Verifier:
    """What is fitted on training speakers: the projection goes into the graph, the calibration into the bundle."""

    projection: SpectrumProjection | None
    """None for an encoder that comes as it is."""
    calibration: VoiceCalibration


def fit_verifier(voices: Voices, seed: int = 0, cohort: Matrix | None = None) -> Verifier:
    """Fit on all speakers given. A corpus of one speaker only shapes the projection.

    Args:
        voices: of known speakers.
        seed: of the trials drawn.
        cohort: ``float32[voices, dim]`` of other people, from the same encoder, which needs no projection.

    Raises:
        UsageError: no corpus has two speakers with clips to enrol and clips to test.
    """
    rng = np.random.default_rng(seed)
    whole = voices.target_s == 0
    projection = None
    if voices.spectrum.shape[1]:
        speakers = voices.speaker[whole].tolist()
        nuisance = fit_nuisance(voices.voice[whole], speakers)
        projection = replace(fit_projection(voices.spectrum[whole], speakers), nuisance=nuisance)
    trials, targets, weights = [], [], []
    for _, mine in by_corpus(voices):
        found = list(_trials(mine, mine.prints(projection), rng, cohort))
        if {is_target for _, is_target in found} != {True, False}:
            continue
        for target in (True, False):
            rows = np.concatenate([tested for tested, is_target in found if is_target == target])
            trials.append(rows)
            targets.append(np.full(len(rows), target))
            weights.append(np.full(len(rows), 1 / len(rows)))
    if not trials:
        raise UsageError("no corpus has two training speakers of at least two clips each to fit the calibration on")
    # Both classes weigh the same, so the log odds are log likelihood ratios.
    weight = np.concatenate(weights)
    regression = LogisticRegression(C=1e3, fit_intercept=False, max_iter=2_000)
    regression.fit(np.concatenate(trials), np.concatenate(targets), sample_weight=weight * len(weight) / weight.sum())
    return Verifier(projection, VoiceCalibration(regression.coef_[0].astype(np.float64), cohort))


def _trials(
    voices: Voices, prints: Matrix, rng: np.random.Generator, cohort: Matrix | None
) -> Iterator[tuple[Doubles, bool]]:
    """Yield features of one person's enrolment against one speaker's tests, and whether these are the same."""
    speakers = np.unique(voices.speaker).tolist()
    tests = {
        speaker: rng.permutation(np.flatnonzero(voices.tests & (voices.speaker == speaker)))[:TRIAL_TESTS]
        for speaker in speakers
    }
    for person in speakers:
        for count in COUNTS:
            for neutral in (False, True):
                clips = draw_enrolment(voices, person, count, rng, neutral)
                for speaker, rows in tests.items():
                    if len(clips) and len(rows):
                        yield features(prints[clips], prints[rows], voices.duration_s[rows], cohort), speaker == person
