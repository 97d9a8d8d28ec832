"""Speaker verification: fits projection and calibration on some speakers, and shows what they are worth on others."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from calibrate.speakers.trials import DURATIONS_S, Mask, Rows, Voices, by_corpus, draw_enrolment, hold_out
from calibrate.speakers.voices import SpectrumProjection, fit_nuisance, fit_projection
from edge.arrays import Doubles, Matrix, unit
from edge.errors import UsageError
from edge.settings import SpeakerSettings
from edge.speaker import Identifier, VoiceCalibration, features

COUNTS = (1, 2, 4, 8)
TRIAL_TESTS = 60
"""Tests of each speaker per enrolment while fitting."""
HOUSEHOLD, HOUSEHOLD_CLIPS, TURNS = 4, 8, 5
ROUNDS = 5
"""Conversations with each person in a draw."""
STAYS = 0.7
"""In a conversation of several people: how often the last voice goes on."""

Figure = tuple[str, ...]
Named = tuple[str | None, str]
"""Who was named, and who spoke."""


@dataclass(frozen=True)
class Verifier:
    """What is fitted on training speakers: the projection goes into the graph, the calibration into the bundle."""

    projection: SpectrumProjection | None
    """None for an encoder that comes as it is."""
    calibration: VoiceCalibration


def fit_verifier(voices: Voices, seed: int = 0) -> Verifier:
    """Fit on all speakers given. A corpus of one speaker only shapes the projection.

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
        found = list(_trials(mine, mine.prints(projection), rng))
        if {is_target for _, is_target in found} != {True, False}:
            continue
        for target in (True, False):
            rows = np.concatenate([seen for seen, is_target in found if is_target == target])
            trials.append(rows)
            targets.append(np.full(len(rows), target))
            weights.append(np.full(len(rows), 1 / len(rows)))
    if not trials:
        raise UsageError("no corpus has two training speakers of at least two clips each to fit the calibration on")
    # Both classes weigh the same, so the log odds are log likelihood ratios.
    weight = np.concatenate(weights)
    regression = LogisticRegression(C=1e3, fit_intercept=False, max_iter=2_000)
    regression.fit(np.concatenate(trials), np.concatenate(targets), sample_weight=weight * len(weight) / weight.sum())
    return Verifier(projection, VoiceCalibration(regression.coef_[0].astype(np.float64)))


def _trials(voices: Voices, prints: Matrix, rng: np.random.Generator) -> Iterator[tuple[Doubles, bool]]:
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
                        yield features(prints[clips], prints[rows], voices.duration_s[rows]), speaker == person


def equal_error_rate(same: Doubles, different: Doubles) -> float:
    """Return the rate at which as many targets are refused as others accepted; NaN when there are none of either."""
    if not (len(same) and len(different)):
        return float("nan")
    scores = np.concatenate([same, different])
    is_same = np.repeat([1.0, 0.0], [len(same), len(different)])[np.argsort(-scores, kind="stable")]
    refused = 1 - np.cumsum(is_same) / len(same)
    accepted = np.cumsum(1 - is_same) / len(different)
    at = np.abs(refused - accepted).argmin()
    return float((refused[at] + accepted[at]) / 2)


def evaluate_verifier(
    voices: Voices, draws: int = 20, share: float = 0.5, advance: Callable[[], object] | None = None
) -> dict[Figure, float]:
    """Return figures, each the mean over random draws of speakers held out from all fitting.

    In each draw a share of every corpus's speakers (at least five) is tested, and everything is fitted on the others.
    Keys are (corpus, what, condition…). ``advance`` is told when a draw is done.

    Raises:
        UsageError: the corpora have too few speakers.
    """
    found: dict[Figure, list[float]] = defaultdict(list)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        known, held = hold_out(voices, share, rng)
        verifier = fit_verifier(known, seed)
        for corpus, mine in by_corpus(held):
            figures = _error_rates(mine, verifier, rng) | _identification(mine, verifier, rng)
            for (what, *condition), value in figures.items():
                figure: Figure = (corpus, what, *condition)
                found[figure].append(value)
        if advance:
            advance()
    return {figure: _mean(values) for figure, values in found.items()}


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def _error_rates(voices: Voices, verifier: Verifier, rng: np.random.Generator) -> dict[Figure, float]:
    """Return equal error rates under every condition."""
    prints, calibration = voices.prints(verifier.projection), verifier.calibration
    whole, lively = voices.tests & (voices.target_s == 0), ~voices.neutral
    mixed, neutral = _enrol(voices, 4, rng), _enrol(voices, 4, rng, neutral=True)
    rates: dict[Figure, float] = {}
    if verifier.projection is not None:
        rates["EER", "GE2E cosine"] = _rate(voices, whole, mixed, voices.voice)
    rates["EER", "cosine"] = _rate(voices, whole, mixed, prints)
    rates["EER", "calibrated"] = _rate(voices, whole, mixed, prints, calibration)
    rates["EER", "same gender"] = _rate(voices, whole, mixed, prints, calibration, one_gender=True)
    rates["EER", "neutral to lively"] = _rate(voices, whole & lively, neutral, prints, calibration)
    rates["EER", "neutral to neutral"] = _rate(voices, whole & ~lively, neutral, prints, calibration)
    for count in COUNTS:
        enrolment = _enrol(voices, count, rng)
        for target_s in DURATIONS_S:
            timed = voices.tests & (voices.target_s == target_s)
            rates["EER", f"{count} clips", f"{target_s} s"] = _rate(voices, timed, enrolment, prints, calibration)
    return rates


def _enrol(voices: Voices, count: int, rng: np.random.Generator, neutral: bool = False) -> dict[str, Rows]:
    speakers = np.unique(voices.speaker).tolist()
    drawn = {speaker: draw_enrolment(voices, speaker, count, rng, neutral) for speaker in speakers}
    return {speaker: clips for speaker, clips in drawn.items() if len(clips)}


def _rate(
    voices: Voices,
    tests: Mask,
    enrolment: Mapping[str, Rows],
    prints: Matrix,
    calibration: VoiceCalibration | None = None,
    one_gender: bool = False,
) -> float:
    same, different = [np.empty(0)], [np.empty(0)]
    for person, clips in enrolment.items():
        if calibration is None:
            scores = prints[tests] @ unit(prints[clips].mean(axis=0))
        else:
            scores = calibration.log_ratios(prints[clips], prints[tests], voices.duration_s[tests])
        mine = voices.speaker[tests] == person
        others = ~mine & (voices.gender[tests] == voices.gender[clips[0]]) if one_gender else ~mine
        same.append(scores[mine])
        different.append(scores[others])
    return equal_error_rate(np.concatenate(same), np.concatenate(different))


def _identification(voices: Voices, verifier: Verifier, rng: np.random.Generator) -> dict[Figure, float]:
    """Return how often the right, a wrong or no person of a household is named."""
    prints = voices.prints(verifier.projection)
    enrolled, tested = (set(voices.speaker[rows].tolist()) for rows in (voices.enrols, voices.tests))
    speakers = rng.permutation(sorted(enrolled & tested)).tolist()
    household, strangers = speakers[:HOUSEHOLD], speakers[HOUSEHOLD : 2 * HOUSEHOLD]

    def people(count: int) -> dict[str, Matrix]:
        return {name: prints[draw_enrolment(voices, name, count, rng)] for name in household}

    def talk(identifier: Identifier, names: list[str], target_s: int = 0) -> list[Named]:
        heard = []
        identifier.reset()
        for speaker in names:
            rows = np.flatnonzero(voices.tests & (voices.target_s == target_s) & (voices.speaker == speaker))
            if len(rows):
                clip = int(rng.choice(rows))
                named = identifier.identify(prints[clip], float(voices.duration_s[clip])).name
                heard.append((named, speaker))
        return heard

    found: dict[Figure, float] = {}
    for count in COUNTS:
        identifier = _identifier(verifier, people(count), SpeakerSettings().stranger)
        for target_s in DURATIONS_S:
            at_home = [talk(identifier, [name], target_s) for name in household * ROUNDS]
            foreign = [talk(identifier, [name], target_s) for name in strangers * ROUNDS]
            _count(found, (f"{count} clips", f"{target_s} s"), at_home, foreign)
    known = people(HOUSEHOLD_CLIPS)
    for bound, chance in (("household list", 0.0), ("open set", SpeakerSettings().stranger)):
        identifier = _identifier(verifier, known, chance)
        alone = [talk(identifier, [name] * TURNS) for name in household * ROUNDS]
        foreign = [talk(identifier, [name] * TURNS) for name in strangers * ROUNDS]
        _count(found, ("one voice", bound), alone, foreign if chance else [])
        turns = [talk(identifier, _turns(household, rng)) for _ in range(HOUSEHOLD * ROUNDS)]
        _count(found, ("in turns", bound), turns, [])
    return found


def _identifier(verifier: Verifier, people: dict[str, Matrix], stranger: float) -> Identifier:
    settings = SpeakerSettings()
    return Identifier(
        verifier.calibration, people, stranger, settings.stay, settings.forget_s, threshold=settings.threshold
    )


def _turns(household: list[str], rng: np.random.Generator) -> list[str]:
    voices = [str(rng.choice(household))]
    while len(voices) < TURNS:
        voices.append(voices[-1] if rng.random() < STAYS else str(rng.choice(household)))
    return voices


def _count(
    found: dict[Figure, float], condition: Figure, at_home: list[list[Named]], foreign: list[list[Named]]
) -> None:
    """Add the outcomes of the household's conversations and of strangers'."""
    heard = [utterance for conversation in at_home for utterance in conversation]
    named = [name == speaker for name, speaker in heard if name is not None]
    strangers = [name is not None for conversation in foreign for name, _ in conversation]
    for what, outcomes, whole in (
        ("attributed", len(named), len(heard)),
        ("right of attributed", sum(named), len(named)),
        ("strangers accepted", sum(strangers), len(strangers)),
    ):
        if foreign or what != "strangers accepted":
            figure: Figure = (what, *condition)
            found[figure] = outcomes / whole if whole else float("nan")
