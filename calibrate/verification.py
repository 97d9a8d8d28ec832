"""Speaker verification: fits projection and calibration on some speakers, and shows what they are worth on others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from calibrate.trials import DURATIONS_S, Mask, Rows, Voices, by_corpus, draw_enrolment, hold_out
from calibrate.voices import SpectrumProjection, fit_projection
from edge.head import Matrix
from edge.speaker import Doubles, Identifier, VoiceCalibration, features, unit

COUNTS = (1, 2, 4, 8)
TRIAL_TESTS = 60
"""Tests of each speaker per enrolment while fitting."""
HOUSEHOLD, HOUSEHOLD_CLIPS, TURNS = 4, 8, 5
STAYS = 0.7
"""In a conversation of several people: how often the last voice goes on."""

OUTCOMES = ("attributed", "right of attributed", "strangers accepted")

Figure = tuple[str, ...]
Named = tuple[str | None, str]
"""Who was named, and who spoke."""


@dataclass(frozen=True)
class Verifier:
    """What is fitted on training speakers: the projection goes into the graph, the calibration into the bundle."""

    projection: SpectrumProjection
    calibration: VoiceCalibration


def fit_verifier(voices: Voices, seed: int = 0) -> Verifier:
    """Fit on all speakers given."""
    rng = np.random.default_rng(seed)
    whole = voices.target_s == 0
    projection = fit_projection(voices.spectrum[whole], voices.speaker[whole].tolist())
    trials, targets, weights = [], [], []
    for _, mine in by_corpus(voices):
        found = list(_trials(mine, mine.prints(projection), rng))
        for target in (True, False):
            rows = np.concatenate([seen for seen, is_target in found if is_target == target])
            trials.append(rows)
            targets.append(np.full(len(rows), target))
            weights.append(np.full(len(rows), 1 / len(rows)))
    # Both classes weigh the same, so the log odds are log likelihood ratios.
    weight = np.concatenate(weights)
    regression = LogisticRegression(C=1e3, fit_intercept=False, max_iter=2_000)
    regression.fit(np.concatenate(trials), np.concatenate(targets), sample_weight=weight * len(weight) / weight.sum())
    return Verifier(projection, VoiceCalibration(regression.coef_[0].astype(np.float64)))


def _trials(voices: Voices, prints: Matrix, rng: np.random.Generator) -> Iterator[tuple[Doubles, bool]]:
    """Yield features of one person's enrolment against one speaker's tests, and whether these are the same."""
    speakers = np.unique(voices.speaker).tolist()
    tests = {
        speaker: rng.permutation(np.flatnonzero(~voices.enrols & (voices.speaker == speaker)))[:TRIAL_TESTS]
        for speaker in speakers
    }
    for person in speakers:
        for count in COUNTS:
            for neutral in (False, True):
                clips = draw_enrolment(voices, person, count, rng, neutral)
                for speaker, rows in tests.items() if len(clips) else ():
                    yield features(prints[clips], prints[rows], voices.duration_s[rows]), speaker == person


def equal_error_rate(same: Doubles, different: Doubles) -> float:
    """Return the rate at which as many targets are refused as others accepted."""
    scores = np.concatenate([same, different])
    is_same = np.repeat([1.0, 0.0], [len(same), len(different)])[np.argsort(-scores, kind="stable")]
    refused = 1 - np.cumsum(is_same) / len(same)
    accepted = np.cumsum(1 - is_same) / len(different)
    at = np.abs(refused - accepted).argmin()
    return float((refused[at] + accepted[at]) / 2)


def evaluate_verifier(voices: Voices, draws: int = 20, share: float = 0.5) -> dict[Figure, float]:
    """Return figures, each the mean over random draws of speakers held out from all fitting.

    In each draw a share of every corpus's speakers (at least five) is tested, and everything is fitted on the others.
    Keys are (corpus, what, condition…).
    """
    found: dict[Figure, list[float]] = defaultdict(list)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        known, held = hold_out(voices, share, rng)
        verifier = fit_verifier(known, seed)
        for corpus, mine in by_corpus(held):
            figures = _error_rates(mine, verifier, rng) | _identification(mine, verifier, rng)
            for (what, *condition), value in figures.items():
                figure = (corpus, what, *condition)
                found[figure].append(value)
    return {figure: float(np.nanmean(values)) for figure, values in found.items()}


def _error_rates(voices: Voices, verifier: Verifier, rng: np.random.Generator) -> dict[Figure, float]:
    """Return equal error rates under every condition."""
    prints, raw = voices.prints(verifier.projection), voices.voice
    rates: dict[Figure, float] = {}
    whole = ~voices.enrols & (voices.target_s == 0)
    mixed = _enrol(voices, 4, rng)
    rates["EER", "GE2E cosine"] = _rate(voices, whole, mixed, raw)
    rates["EER", "cosine"] = _rate(voices, whole, mixed, prints)
    rates["EER", "calibrated"] = _rate(voices, whole, mixed, prints, verifier.calibration)
    rates["EER", "calibrated, same gender"] = _rate(voices, whole, mixed, prints, verifier.calibration, one_gender=True)
    neutral = _enrol(voices, 4, rng, neutral=True)
    lively = ~voices.neutral
    rates["EER", "neutral-enrolled, lively tests"] = _rate(
        voices, whole & lively, neutral, prints, verifier.calibration
    )
    rates["EER", "neutral-enrolled, neutral tests"] = _rate(
        voices, whole & ~lively, neutral, prints, verifier.calibration
    )
    for count in COUNTS:
        enrolment = _enrol(voices, count, rng)
        for target_s in DURATIONS_S:
            timed = voices.target_s == target_s
            rates["EER", f"{count} clips", f"{target_s} s"] = _rate(
                voices, timed, enrolment, prints, verifier.calibration
            )
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
    same, different = [], []
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
    speakers = rng.permutation(np.unique(voices.speaker)).tolist()
    household, strangers = speakers[:HOUSEHOLD], speakers[HOUSEHOLD:]

    def listen(identifier: Identifier, clips: Rows) -> list[Named]:
        identifier.reset()
        return [
            (identifier.identify(prints[clip], float(voices.duration_s[clip])).name, str(voices.speaker[clip]))
            for clip in clips
        ]

    def people(count: int) -> dict[str, Matrix]:
        return {name: prints[draw_enrolment(voices, name, count, rng)] for name in household}

    def pick(speaker: str, target_s: int = 0) -> int:
        heard = ~voices.enrols & (voices.target_s == target_s) & (voices.speaker == speaker)
        return int(rng.choice(np.flatnonzero(heard)))

    found: dict[Figure, float] = {}
    for count in COUNTS:
        identifier = Identifier(verifier.calibration, people(count))
        for target_s in DURATIONS_S:
            at_home = [listen(identifier, np.array([pick(name, target_s)])) for name in household * 5]
            foreign = [listen(identifier, np.array([pick(name, target_s)])) for name in strangers[:4] * 5]
            _count(found, (f"{count} clips", f"{target_s} s"), _flat(at_home), _flat(foreign))
    enrolled = people(HOUSEHOLD_CLIPS)
    for bound, chance in (("household list", 0.0), ("open set", 0.2)):
        identifier = Identifier(verifier.calibration, enrolled, stranger=chance)
        alone = [listen(identifier, np.array([pick(name) for _ in range(TURNS)])) for name in household * 5]
        turns = [listen(identifier, np.array([pick(name) for name in _turns(household, rng)])) for _ in range(20)]
        foreign = [listen(identifier, np.array([pick(name) for _ in range(TURNS)])) for name in strangers[:4] * 5]
        _count(found, ("one voice", bound), _flat(alone), _flat(foreign))
        _count(found, ("in turns", bound), _flat(turns), [])
    return found


def _flat(conversations: list[list[Named]]) -> list[Named]:
    return [named for conversation in conversations for named in conversation]


def _turns(household: list[str], rng: np.random.Generator) -> list[str]:
    voices = [str(rng.choice(household))]
    while len(voices) < TURNS:
        voices.append(voices[-1] if rng.random() < STAYS else str(rng.choice(household)))
    return voices


def _count(
    found: dict[Figure, float],
    condition: Figure,
    at_home: list[Named],
    foreign: list[Named],
) -> None:
    named = [(name, speaker) for name, speaker in at_home if name is not None]
    right = sum(name == speaker for name, speaker in named)
    shares = {
        "attributed": len(named) / len(at_home),
        "right of attributed": right / len(named) if named else float("nan"),
    }
    if foreign:
        shares["strangers accepted"] = sum(name is not None for name, _ in foreign) / len(foreign)
    found.update({(what, *condition): share for what, share in shares.items()})
