import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calibrate.cache import cached_arrays
from calibrate.experiments.verification.figures import evaluate_verifier
from calibrate.experiments.verification.samples import Share, Trials, equal_error_rate, interval_of
from calibrate.speakers.fitting import fit_verifier
from calibrate.speakers.trials import DURATIONS_S, Voices, draw_enrolment, hold_out
from calibrate.speakers.voices import SPECTRUM_DIM, VoiceEncoder, fit_nuisance, fit_projection
from edge.arrays import unit
from helpers.signals import silence, speech_like

EMOTIONS = ("neutral", "happy", "angry")


def made_up(speakers: int = 10, clips: int = 24, seed: int = 0) -> Voices:
    """Voices of one corpus: each speaker has a direction, each emotion shifts every voice the same way."""
    rng = np.random.default_rng(seed)
    rows = [(s, c, t) for s in range(speakers) for c in range(clips) for t in (0, *(DURATIONS_S if c % 2 else ()))]
    speaker, clip, target_s = np.array(rows).T
    emotion = clip % len(EMOTIONS)
    parts = []
    for dim in (256, SPECTRUM_DIM):
        voice, mood = rng.standard_normal((speakers, dim)), rng.standard_normal((len(EMOTIONS), dim))
        parts.append(voice[speaker] + mood[emotion] + rng.standard_normal((len(rows), dim)))
    return Voices(
        voice=unit(parts[0].astype(np.float32)),
        spectrum=parts[1].astype(np.float32),
        duration_s=np.where(target_s == 0, 2.0, target_s),
        target_s=target_s,
        enrols=clip % 2 == 0,
        speaker=np.array([f"made-up-{index:02}" for index in speaker]),
        corpus=np.full(len(rows), "made-up"),
        gender=np.array(["f", "m"])[speaker % 2],
        emotion=np.array(EMOTIONS)[emotion],
    )


def test_the_spectrum_forgets_the_level_and_pauses() -> None:
    torch.manual_seed(0)
    encoder = VoiceEncoder().eval()
    speech = speech_like(1.2)
    rows = [speech, 0.2 * speech, np.concatenate([speech, silence(0.8, -90)])]
    with torch.inference_mode():
        parts = [encoder.parts(torch.from_numpy(row)[None].float(), torch.tensor([len(row)])) for row in rows]
    for _, spectrum in parts[1:]:
        assert (spectrum - parts[0][1]).abs().mean() < 0.15  # nepers; a pause that counted would move it by 3
    assert all(torch.linalg.norm(voice) == pytest.approx(1, abs=1e-4) for voice, _ in parts)


def test_the_projection_evens_out_what_varies_within_speakers() -> None:
    voices = made_up(speakers=12, clips=40)
    projection = fit_projection(voices.spectrum, voices.speaker.tolist(), shrinkage=0.0)
    projected = (voices.spectrum - projection.mean) @ projection.matrix
    within = np.mean(
        [np.cov(projected[voices.speaker == one].T, bias=True) for one in np.unique(voices.speaker)], axis=0
    )
    assert within == pytest.approx(np.eye(SPECTRUM_DIM), abs=1e-2)


def test_the_table_projects_as_the_encoder_does() -> None:
    voices = made_up()
    speakers = voices.speaker.tolist()
    projection = replace(
        fit_projection(voices.spectrum, speakers), nuisance=fit_nuisance(voices.voice, speakers, count=3)
    )
    encoder = VoiceEncoder(projection)
    assert encoder.projection is not None
    expected = encoder.projection(torch.from_numpy(voices.voice), torch.from_numpy(voices.spectrum))
    np.testing.assert_allclose(voices.prints(projection), expected, atol=1e-5)


def test_the_nuisance_is_what_every_voice_does_alike() -> None:
    rng = np.random.default_rng(0)
    mood = unit(rng.standard_normal((2, 256)).astype(np.float32))
    voices = rng.standard_normal((6, 256))[np.arange(120) % 6] + rng.normal(0, 2, (120, 2)) @ mood
    voices += 0.05 * rng.standard_normal((120, 256))
    found = fit_nuisance(voices.astype(np.float32), [f"voice {row % 6}" for row in range(120)])
    np.testing.assert_allclose(found @ found.T, np.eye(2), atol=1e-5)
    np.testing.assert_allclose(mood @ found.T @ found, mood, atol=0.02)


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
    verifier = fit_verifier(known)
    prints = held.prints(verifier.projection)
    tests = ~held.enrols
    same, different = [], []
    for person in np.unique(held.speaker).tolist():
        clips = draw_enrolment(held, person, 4, np.random.default_rng(2))
        ratios = verifier.calibration.log_ratios(prints[clips], prints[tests], held.duration_s[tests])
        mine = held.speaker[tests] == person
        same.append(ratios[mine])
        different.append(ratios[~mine])
    assert np.median(np.concatenate(same)) > 0 > np.median(np.concatenate(different))


def test_the_evaluation_covers_every_condition() -> None:
    figures = evaluate_verifier(made_up(speakers=12), draws=1, leave_out="speakers").means
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
    fit = sys.modules["calibrate.experiments.verification.figures"].__dict__["fit_verifier"]

    def watched(voices: Voices, **options: Any) -> Any:
        fitted.append(np.unique(voices.corpus).tolist())
        return fit(voices, **options)

    monkeypatch.setattr("calibrate.experiments.verification.figures.fit_verifier", watched)
    figures = evaluate_verifier(both, draws=2)
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
    voices = replace(made_up(), spectrum=np.zeros((len(made_up().speaker), 0), np.float32))
    others = unit(np.random.default_rng(9).standard_normal((40, 256)).astype(np.float32))
    cohort = fit_verifier(voices, cohort=others).calibration.cohort
    assert cohort is not None
    assert 0.1 < cohort.typical < 0.9
    assert (cohort.prints == others).all()


def test_a_table_comes_back_from_the_cache(tmp_path: Path) -> None:
    voices = made_up(speakers=2, clips=4)
    cached_arrays(tmp_path, "voices", "made up", lambda: vars(voices))
    again = Voices(**cached_arrays(tmp_path, "voices", "made up", lambda: pytest.fail("was not kept")))
    assert (again.voice == voices.voice).all()
    assert again.emotion.tolist() == voices.emotion.tolist()
