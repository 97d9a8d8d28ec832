"""What a speaker encoder is worth on speakers nobody fitted it on: error rates, and conversations in a household."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from calibrate.experiments.household_setup import HOUSEHOLD, HOUSEHOLD_CLIPS, STAYS, TURNS
from calibrate.experiments.verification.samples import Sample, Share, Trials, interval_of, mean_of
from calibrate.speakers.fitting import COUNTS, fit_calibration
from calibrate.speakers.trials import (
    DURATIONS_S,
    LEAST_TESTED,
    Mask,
    Rows,
    Voices,
    by_corpus,
    draw_enrolment,
    hold_out,
)  # fmt: skip
from edge.arrays import Matrix, unit
from edge.errors import UsageError
from edge.settings import SpeakerSettings
from edge.speaker import EnrolledVoices, Identifier, VoiceCalibration

HOUSEHOLDS = 5
"""In a draw, each of people drawn anew."""
ROUNDS = 5
"""Conversations of each person in a household."""
SHARE = 0.5
"""Of each corpus's speakers, held out in a draw where speakers are left out."""

LeaveOut = Literal["corpora", "speakers"]
"""What is tested on: each corpus after fitting on the others, or in each draw some speakers of all corpora."""
Figure = tuple[str, ...]
Interval = tuple[float, float]
Named = tuple[str | None, str]
"""Who was named, and who spoke."""


@dataclass(frozen=True)
class Figures:
    """Keys are (corpus, what, condition…)."""

    means: dict[Figure, float] = field(default_factory=dict)
    """Over draws; not a number where there were no trials."""
    intervals: dict[Figure, Interval] = field(default_factory=dict)
    """Of whole clips: 95 %, from a bootstrap over the corpus's speakers."""


def evaluate_voices(
    voices: Voices,
    draws: int = 20,
    leave_out: LeaveOut = "corpora",
    advance: Callable[[], object] | None = None,
    cohort: Matrix | None = None,
) -> Figures:
    """Return figures on speakers held out from all fitting, over random draws of clips, households and conversations.

    ``advance`` is called when a draw of a corpus is done; ``cohort`` is that of ``fit_calibration``.

    Raises:
        UsageError: the corpora have too few speakers.
    """
    found: dict[str, dict[Figure, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for seed, corpus, calibration, held in _held_out(voices, draws, leave_out, cohort):
        speakers = _index(voices, corpus)
        rng = np.random.default_rng(seed)
        for figure, sample in (
            _error_rates(held, calibration, rng, speakers) | _talks(held, calibration, rng, speakers)
        ).items():
            found[corpus][figure].append(sample)
        if advance:
            advance()
    figures = Figures()
    for corpus, samples in found.items():
        count = len(_index(voices, corpus))
        for (what, *condition), drawn in samples.items():
            key = (corpus, what, *condition)
            figures.means[key] = mean_of(drawn, count)
            if not condition[0].endswith(" clips"):
                figures.intervals[key] = interval_of(drawn, count)
    return figures


def _index(voices: Voices, corpus: str) -> dict[str, int]:
    names = np.unique(voices.speaker[voices.corpus == corpus]).tolist()
    return {name: index for index, name in enumerate(names)}


def _held_out(
    voices: Voices, draws: int, leave_out: LeaveOut, cohort: Matrix | None
) -> Iterator[tuple[int, str, VoiceCalibration, Voices]]:
    """Yield the seed, a corpus, a calibration, and voices of that corpus which it was not fitted on."""
    if leave_out == "corpora":
        for corpus in _tested_corpora(voices):
            held = voices.corpus == corpus
            calibration = fit_calibration(voices.select(~held), cohort=cohort)
            for seed in range(draws):
                yield seed, corpus, calibration, voices.select(held)
        return
    for seed in range(draws):
        known, held_voices = hold_out(voices, SHARE, np.random.default_rng(seed))
        calibration = fit_calibration(known, seed, cohort)
        for corpus, mine in by_corpus(held_voices):
            yield seed, corpus, calibration, mine


def _tested_corpora(voices: Voices) -> list[str]:
    """Return the corpora with enough speakers to be tested among themselves."""
    counts = {corpus: len(np.unique(mine.speaker)) for corpus, mine in by_corpus(voices)}
    found = [corpus for corpus, count in counts.items() if count >= LEAST_TESTED]
    if not found:
        listed = ", ".join(f"{corpus} {count}" for corpus, count in counts.items())
        raise UsageError(f"a corpus of at least {LEAST_TESTED} speakers is needed to be left out; there are {listed}")
    return found


def _error_rates(
    voices: Voices, calibration: VoiceCalibration, rng: np.random.Generator, speakers: Mapping[str, int]
) -> dict[Figure, Sample]:
    """Return equal error rates under every condition."""
    whole, lively = voices.tests & (voices.target_s == 0), ~voices.neutral
    mixed, neutral = _enrol(voices, 4, rng), _enrol(voices, 4, rng, neutral=True)
    rates: dict[Figure, Sample] = {}
    rates["EER", "cosine"] = _trials(voices, speakers, whole, mixed)
    rates["EER", "calibrated"] = _trials(voices, speakers, whole, mixed, calibration)
    rates["EER", "same gender"] = _trials(voices, speakers, whole, mixed, calibration, one_gender=True)
    rates["EER", "neutral to lively"] = _trials(voices, speakers, whole & lively, neutral, calibration)
    rates["EER", "neutral to neutral"] = _trials(voices, speakers, whole & ~lively, neutral, calibration)
    for count in COUNTS:
        enrolment = _enrol(voices, count, rng)
        for target_s in DURATIONS_S:
            timed = voices.tests & (voices.target_s == target_s)
            rates["EER", f"{count} clips", f"{target_s} s"] = _trials(voices, speakers, timed, enrolment, calibration)
    return rates


def _enrol(voices: Voices, count: int, rng: np.random.Generator, neutral: bool = False) -> dict[str, Rows]:
    speakers = np.unique(voices.speaker).tolist()
    drawn = {speaker: draw_enrolment(voices, speaker, count, rng, neutral) for speaker in speakers}
    return {speaker: clips for speaker, clips in drawn.items() if len(clips)}


def _trials(
    voices: Voices,
    speakers: Mapping[str, int],
    tests: Mask,
    enrolment: Mapping[str, Rows],
    calibration: VoiceCalibration | None = None,
    one_gender: bool = False,
) -> Trials:
    prints, clips = voices.prints, list(enrolment.values())
    if calibration is None:
        centres = np.array([unit(prints[mine].mean(axis=0)) for mine in clips], np.float32)
        scores = (centres.reshape(-1, prints.shape[1]) @ prints[tests].T).astype(np.float64)
    else:
        enrolled = EnrolledVoices([prints[mine] for mine in clips], calibration.cohort)
        scores = enrolled.features(prints[tests], voices.duration_s[tests]) @ calibration.weights
    people = np.array([speakers[name] for name in enrolment], np.int64)[:, None]
    testers = np.array([speakers[name] for name in voices.speaker[tests].tolist()], np.int64)
    genders = np.array([voices.gender[mine[0]] for mine in clips], np.str_)[:, None]
    kept = np.broadcast_to(
        ~np.bool_(one_gender) | (people == testers) | (genders == voices.gender[tests]), scores.shape
    )
    everyone = np.broadcast_to(people, scores.shape)[kept], np.broadcast_to(testers, scores.shape)[kept]
    return Trials(scores[kept], *everyone)


def _talks(
    voices: Voices, calibration: VoiceCalibration, rng: np.random.Generator, speakers: Mapping[str, int]
) -> dict[Figure, Sample]:
    """Return how often the right, a wrong or no person of a household is named."""
    enrolled, tested = (set(voices.speaker[rows].tolist()) for rows in (voices.enrols, voices.tests))
    talks = _Talks(voices, calibration, rng)
    for _ in range(HOUSEHOLDS):
        everyone = rng.permutation(sorted(enrolled & tested)).tolist()
        talks.hold(everyone[:HOUSEHOLD], everyone[HOUSEHOLD : 2 * HOUSEHOLD])
    found: dict[Figure, Sample] = {}
    for condition, spoken in talks.at_home.items():
        attributed, right = ("attributed", *condition), ("right of attributed", *condition)
        found[attributed] = Share.of(((who, name is not None) for name, who in spoken), speakers)
        found[right] = Share.of(((who, name == who) for name, who in spoken if name is not None), speakers)
    for condition, spoken in talks.of_strangers.items():
        accepted = ("strangers accepted", *condition)
        found[accepted] = Share.of(((who, name is not None) for name, who in spoken), speakers)
    return found


@dataclass
class _Talks:
    """Conversations of households, and of strangers in their homes."""

    voices: Voices
    calibration: VoiceCalibration
    rng: np.random.Generator
    at_home: dict[Figure, list[Named]] = field(default_factory=lambda: defaultdict(list))
    """Condition to utterances."""
    of_strangers: dict[Figure, list[Named]] = field(default_factory=lambda: defaultdict(list))

    def hold(self, household: list[str], strangers: list[str]) -> None:
        """Let a household and strangers talk, in every condition."""
        chance = SpeakerSettings().stranger
        for count in COUNTS:
            identifier = self._identifier(household, count, chance)
            for target_s in DURATIONS_S:
                condition = (f"{count} clips", f"{target_s} s")
                self._talk(condition, identifier, [[name] for name in household * ROUNDS], target_s)
                self._talk(condition, identifier, [[name] for name in strangers * ROUNDS], target_s, at_home=False)
        for bound, stranger in (("household list", 0.0), ("open set", chance)):
            identifier = self._identifier(household, HOUSEHOLD_CLIPS, stranger)
            self._talk(("one voice", bound), identifier, [[name] * TURNS for name in household * ROUNDS])
            if stranger:
                alone = [[name] * TURNS for name in strangers * ROUNDS]
                self._talk(("one voice", bound), identifier, alone, at_home=False)
            self._talk(("in turns", bound), identifier, [self._turns(household) for _ in range(HOUSEHOLD * ROUNDS)])
        for person, other in zip(household, strangers, strict=False):
            identifier = self._identifier([person], HOUSEHOLD_CLIPS, chance)
            for name in (person, other):
                talks = [[name] * TURNS] * ROUNDS
                self._talk(("one voice", "one person"), identifier, talks, at_home=name == person, bound_to=person)

    def _identifier(self, household: list[str], count: int, stranger: float) -> Identifier:
        settings = SpeakerSettings()
        people = {name: self.voices.prints[draw_enrolment(self.voices, name, count, self.rng)] for name in household}
        return Identifier(
            self.calibration, people, stranger, settings.stay, settings.forget_s, threshold=settings.threshold
        )

    def _talk(
        self,
        condition: Figure,
        identifier: Identifier,
        conversations: list[list[str]],
        target_s: int = 0,
        at_home: bool = True,
        bound_to: str | None = None,
    ) -> None:
        voices, spoken = self.voices, (self.at_home if at_home else self.of_strangers)[condition]
        for names in conversations:
            identifier.reset()
            for speaker in names:
                rows = np.flatnonzero(voices.tests & (voices.target_s == target_s) & (voices.speaker == speaker))
                if len(rows):
                    clip = int(self.rng.choice(rows))
                    found = identifier.identify(voices.prints[clip], float(voices.duration_s[clip]))
                    bound = None if found.stranger >= SpeakerSettings().gate else bound_to
                    spoken.append((bound if bound_to else found.name, speaker))

    def _turns(self, household: list[str]) -> list[str]:
        voices = [str(self.rng.choice(household))]
        while len(voices) < TURNS:
            voices.append(voices[-1] if self.rng.random() < STAYS else str(self.rng.choice(household)))
        return voices
