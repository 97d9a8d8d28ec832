import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibrate.cache import cached_arrays
from calibrate.experiments.verification.figures import evaluate_voices
from calibrate.experiments.verification.samples import Share, Trials, equal_error_rate, interval_of
from calibrate.speakers.fitting import fit_calibration
from calibrate.speakers.trials import DURATIONS_S, Voices, draw_enrolment, hold_out
from edge.arrays import unit

EMOTIONS = ("neutral", "happy", "angry")
DIM = 256


def made_up(speakers: int = 10, clips: int = 24, seed: int = 0) -> Voices:
    """Voices of one corpus: each speaker has a direction, each emotion shifts every voice the same way."""
    rng = np.random.default_rng(seed)
    rows = [(s, c, t) for s in range(speakers) for c in range(clips) for t in (0, *(DURATIONS_S if c % 2 else ()))]
    speaker, clip, target_s = np.array(rows).T
    emotion = clip % len(EMOTIONS)
    voice, mood = rng.standard_normal((speakers, DIM)), rng.standard_normal((len(EMOTIONS), DIM))
    prints = voice[speaker] + mood[emotion] + rng.standard_normal((len(rows), DIM))
    return Voices(
        prints=unit(prints.astype(np.float32)),
        duration_s=np.where(target_s == 0, 2.0, target_s),
        target_s=target_s,
        enrols=clip % 2 == 0,
        speaker=np.array([f"made-up-{index:02}" for index in speaker]),
        corpus=np.full(len(rows), "made-up"),
        gender=np.array(["f", "m"])[speaker % 2],
        emotion=np.array(EMOTIONS)[emotion],
    )


def test_enrolment_is_of_mixed_emotion_and_never_tested() -> None:
    voices, rng = made_up(), np.random.default_rng(0)
    mixed = draw_enrolment(voices, "made-up-03", 6, rng)
    assert sorted(voices.emotion[mixed]) == sorted(EMOTIONS * 2)
    neutral = draw_enrolment(voices, "made-up-03", 3, rng, neutral=True)
    assert set(voices.emotion[neutral]) == {"neutral"}
    for rows in (mixed, neutral):
        assert voices.enrols[rows].all()
        assert (voices.target_s[rows] == 0).all()
        assert set(voices.speaker[rows]) == {"made-up-03"}


def test_held_out_speakers_are_not_known() -> None:
    known, held = hold_out(made_up(), 0.5, np.random.default_rng(0))
    assert not set(known.speaker) & set(held.speaker)
    assert len(set(known.speaker)) == len(set(held.speaker)) == 5


@pytest.mark.parametrize(
    ("same", "different", "rate"), [([2, 3], [0, 1], 0.0), ([0, 1], [2, 3], 1.0), ([0, 2, 4, 6], [1, 3, -1, -2], 0.25)]
)
def test_equal_error_rate(same: list[float], different: list[float], rate: float) -> None:
    is_same = np.repeat([True, False], [len(same), len(different)])
    assert equal_error_rate(np.array([*same, *different], float), is_same) == pytest.approx(rate)


def test_evidence_is_calibrated_on_speakers_it_was_not_fitted_on() -> None:
    known, held = hold_out(made_up(speakers=16), 0.5, np.random.default_rng(1))
    calibration, prints = fit_calibration(known), held.prints
    tests = ~held.enrols
    same, different = [], []
    for person in np.unique(held.speaker).tolist():
        clips = draw_enrolment(held, person, 4, np.random.default_rng(2))
        ratios = calibration.log_ratios(prints[clips], prints[tests], held.duration_s[tests])
        mine = held.speaker[tests] == person
        same.append(ratios[mine])
        different.append(ratios[~mine])
    assert np.median(np.concatenate(same)) > 0 > np.median(np.concatenate(different))


def test_the_evaluation_covers_every_condition() -> None:
    figures = evaluate_voices(made_up(speakers=12), draws=1, leave_out="speakers").means
    assert {corpus for corpus, *_ in figures} == {"made-up"}
    assert all(0 <= value <= 1 for value in figures.values() if np.isfinite(value))
    assert ("made-up", "EER", "8 clips", "5 s") in figures
    assert figures["made-up", "EER", "calibrated"] < 0.2
    assert figures["made-up", "right of attributed", "one voice", "open set"] > 0.9


def test_each_corpus_is_tested_without_having_been_fitted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    first = made_up(speakers=6)
    second = made_up(speakers=6, seed=1)
    both = Voices(
        *(np.concatenate([getattr(first, field.name), getattr(second, field.name)]) for field in fields(first))
    )
    corpus = np.repeat(["first", "second"], len(first.speaker))
    both = replace(both, corpus=corpus, speaker=np.char.add(np.char.add(corpus, "-"), both.speaker))
    fitted = []
    fit = sys.modules["calibrate.experiments.verification.figures"].__dict__["fit_calibration"]

    def watched(voices: Voices, **options: Any) -> Any:
        fitted.append(np.unique(voices.corpus).tolist())
        return fit(voices, **options)

    monkeypatch.setattr("calibrate.experiments.verification.figures.fit_calibration", watched)
    figures = evaluate_voices(both, draws=2)
    assert fitted == [["second"], ["first"]]
    for name in ("first", "second"):
        low, high = figures.intervals[name, "EER", "calibrated"]
        assert 0 <= low <= figures.means[name, "EER", "calibrated"] <= high


def test_speakers_drawn_twice_are_no_impostors_of_themselves() -> None:
    people, testers = np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3)
    trials = Trials(np.where(people == testers, 1.0, 0.0), people, testers)
    assert trials.values(np.array([[1.0, 1, 1], [2, 1, 0]])) == pytest.approx([0, 0])
    assert np.isnan(trials.values(np.array([[3.0, 0, 0]]))).all()


def test_an_interval_is_over_speakers() -> None:
    speakers = {"anna": 0, "ben": 1}
    outcomes = [("anna", True)] * 9 + [("ben", False)]
    share = Share.of(outcomes, speakers)
    assert share.values(np.ones((1, 2))) == pytest.approx([0.9])
    assert interval_of([share], 2) == pytest.approx((0, 1))
    alike = Share.of([(name, hit) for name in speakers for hit in (True, False)], speakers)
    assert interval_of([alike], 2) == pytest.approx((0.5, 0.5))


def test_a_cohort_is_fitted_with_what_is_typical_of_a_person() -> None:
    voices = made_up()
    others = unit(np.random.default_rng(9).standard_normal((40, DIM)).astype(np.float32))
    cohort = fit_calibration(voices, cohort=others).cohort
    assert cohort is not None
    assert 0.1 < cohort.typical < 0.9
    assert (cohort.prints == others).all()


def test_a_table_comes_back_from_the_cache(tmp_path: Path) -> None:
    voices = made_up(speakers=2, clips=4)
    cached_arrays(tmp_path, "voices", "made up", lambda: vars(voices))
    again = Voices(**cached_arrays(tmp_path, "voices", "made up", lambda: pytest.fail("was not kept")))
    assert (again.prints == voices.prints).all()
    assert again.emotion.tolist() == voices.emotion.tolist()
