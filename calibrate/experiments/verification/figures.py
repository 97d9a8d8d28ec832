"""What a verifier is worth on speakers held out from its fitting: error rates, and conversations in a household."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np

from calibrate.experiments.household_setup import HOUSEHOLD, HOUSEHOLD_CLIPS, STAYS, TURNS
from calibrate.speakers.fitting import COUNTS, Verifier, fit_verifier
from calibrate.speakers.trials import DURATIONS_S, Mask, Rows, Voices, by_corpus, draw_enrolment, hold_out
from edge.arrays import Doubles, Matrix, unit
from edge.settings import SpeakerSettings
from edge.speaker import Identifier, VoiceCalibration

ROUNDS = 5
"""Conversations with each person in a draw."""

Figure = tuple[str, ...]
Named = tuple[str | None, str]
"""Who was named, and who spoke."""


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
    voices: Voices,
    draws: int = 20,
    share: float = 0.5,
    advance: Callable[[], object] | None = None,
    cohort: Matrix | None = None,
) -> dict[Figure, float]:
    """Return figures, each the mean over random draws of speakers held out from all fitting.

    In each draw a share of every corpus's speakers (at least five) is tested, and everything is fitted on the others.
    Keys are (corpus, what, condition…). ``advance`` is called when a draw is done; ``cohort``
    is that of ``fit_verifier``.

    Raises:
        UsageError: the corpora have too few speakers.
    """
    found: dict[Figure, list[float]] = defaultdict(list)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        known, held = hold_out(voices, share, rng)
        verifier = fit_verifier(known, seed, cohort)
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
        utterances = []
        identifier.reset()
        for speaker in names:
            rows = np.flatnonzero(voices.tests & (voices.target_s == target_s) & (voices.speaker == speaker))
            if len(rows):
                clip = int(rng.choice(rows))
                named = identifier.identify(prints[clip], float(voices.duration_s[clip])).name
                utterances.append((named, speaker))
        return utterances

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
    spoken = [utterance for conversation in at_home for utterance in conversation]
    named = [name == speaker for name, speaker in spoken if name is not None]
    strangers = [name is not None for conversation in foreign for name, _ in conversation]
    for what, outcomes, whole in (
        ("attributed", len(named), len(spoken)),
        ("right of attributed", sum(named), len(named)),
        ("strangers accepted", sum(strangers), len(strangers)),
    ):
        if foreign or what != "strangers accepted":
            figure: Figure = (what, *condition)
            found[figure] = outcomes / whole if whole else float("nan")
