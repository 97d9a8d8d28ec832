import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from calibrate.cli.app import main
from calibrate.corpora import Utterance
from calibrate.dataset import Part
from calibrate.experiments.confidence.calibration import (
    Calibration,
    Confidences,
    accuracy_interval,
    calibrate,
    coverage_curve,
    operating_point,
    reliability,
    rescaled,
    review_threshold,
)
from calibrate.experiments.confidence.experiment import advice, calibration_report
from calibrate.metrics import calibration_error
from calibrate.recipe import Recipe
from calibrate.trained import Answers
from helpers.calling import exit_code
from helpers.run_folders import write_run

Call = Callable[..., int]
Write = Callable[..., Path]


@st.composite
def some(draw: st.DrawFn) -> Confidences:
    size = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    confidence = rng.integers(1, 12, size=size) / 12 if draw(st.booleans()) else rng.random(size)
    weights = rng.random(size) + 0.1
    speakers = np.array([f"s{row % 4}" for row in range(size)])
    return Confidences(confidence, rng.random(size) < confidence, weights / weights.sum(), speakers)


def answers(count: int, temperature: float, seed: int = 0) -> Answers:
    """Answers of a model that is right as often as it would say at temperature 1, but says it at another."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2.0, size=(count, 3))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random(count)[:, None] > honest.cumsum(axis=1)).sum(axis=1)
    utterances = [Utterance(Path(f"{row}.wav"), "x", f"x-{row % 6}", "happy") for row in range(count)]
    return Answers(Part(utterances, labels.astype(np.int64)), rescaled(honest.astype(np.float32), 1 / temperature))


@given(some(), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_the_threshold_is_the_lowest_that_reaches_what_is_wanted(found: Confidences, wanted: float) -> None:
    threshold = review_threshold(found, wanted)
    candidates = [0.0, *np.unique(np.ceil(found.confidence * 1000) / 1000)]
    reached = [each for each in candidates if operating_point(found, float(each)).accuracy >= wanted]
    assert threshold == (min(reached) if reached else None)


@given(some())
@settings(max_examples=30, deadline=None)
def test_the_curve_holds_every_operating_point(found: Confidences) -> None:
    thresholds, coverages, accuracies = coverage_curve(found)
    assert (np.diff(thresholds) > 0).all()
    assert (np.diff(coverages) < 0).all()
    assert coverages[0] == pytest.approx(1)
    for threshold, coverage, accuracy in zip(thresholds, coverages, accuracies, strict=True):
        point = operating_point(found, float(threshold))
        assert (point.coverage, point.accuracy) == (pytest.approx(coverage), pytest.approx(accuracy))
    assert math.isnan(operating_point(found, 2.0).accuracy)


@given(some(), st.floats(0, 0.9))
@settings(max_examples=30, deadline=None)
def test_the_interval_of_the_accuracy_is_one(found: Confidences, threshold: float) -> None:
    low, high = accuracy_interval(found, threshold)
    assert math.isnan(low) or 0 <= low <= high <= 1 + 1e-9
    unknown = math.isnan(operating_point(found, threshold).accuracy) or len(np.unique(found.speakers)) < 2
    assert math.isnan(low) == unknown


def test_the_error_is_that_of_evaluations_when_utterances_weigh_the_same() -> None:
    found = answers(200, 2.0)
    confidences = Confidences.of(found)
    equal = Confidences(confidences.confidence, confidences.right, np.full(200, 1 / 200), confidences.speakers)
    assert reliability(equal).error == pytest.approx(calibration_error(found.probabilities, found.part.labels))
    assert reliability(equal).mass.sum() == pytest.approx(1)


@given(st.floats(0.3, 3), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_a_temperature_is_undone_by_its_inverse(power: float, seed: int) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(4), size=5).astype(np.float32)
    back = rescaled(rescaled(probabilities, power), 1 / power)
    np.testing.assert_allclose(back, probabilities, atol=1e-3)
    np.testing.assert_array_equal(rescaled(probabilities, power).argmax(1), probabilities.argmax(1))


def test_the_temperature_that_was_done_wrong_is_found() -> None:
    found = calibrate(answers(4000, 0.5), answers(4000, 0.5, seed=1), temperature=0.5, wanted=0.9)
    assert found.fitted_temperature == pytest.approx(1.0, rel=0.1)
    errors = {name: row.error for name, row in found.reliability.items()}
    assert errors["uncalibrated"] == pytest.approx(errors["fitted"], abs=0.02), "temperature 1 is right here"
    assert errors["as shipped"] > 0.08
    assert errors["fitted"] < 0.03
    assert found.corpus_error["x"]["as shipped"] == pytest.approx(errors["as shipped"], abs=0.02)
    assert found.threshold is not None
    assert operating_point(found.validation, found.threshold).accuracy >= 0.9
    test = operating_point(found.test, found.threshold)
    low, high = found.interval()
    assert low <= test.accuracy <= high
    assert test.accuracy == pytest.approx(0.9, abs=0.03)


@pytest.fixture
def small() -> Calibration:
    return calibrate(answers(90, 1.0), answers(90, 1.0, seed=1), temperature=1.0, wanted=0.8)


def test_the_report_has_the_line_for_the_settings(tmp_path: Path, small: Calibration) -> None:
    calibration_report(small, "test speakers").write(tmp_path / "deep" / "out")
    out = tmp_path / "deep" / "out"
    assert {path.name for path in out.iterdir()} == {
        "calibration.md",
        "calibration.json",
        "reliability.png",
        "coverage.png",
    }
    text = (out / "calibration.md").read_text()
    assert f"    [decision]\n    review_threshold = {small.threshold}\n" in text
    described = json.loads((out / "calibration.json").read_text())
    assert described["review_threshold"] == small.threshold
    assert described["validation"]["at_threshold"]["accuracy"] >= 0.8
    assert len(described["test"]["curve"]["threshold"]) == len(described["test"]["curve"]["coverage"])
    assert plt.get_fignums() == []


def test_an_accuracy_out_of_reach_is_said() -> None:
    noise = Answers(answers(90, 1.0).part, np.full((90, 3), 1 / 3, np.float32))
    found = calibrate(noise, noise, temperature=1.0, wanted=0.99)
    assert found.threshold is None
    (line,) = advice(found)
    assert line.startswith("No threshold reaches an accuracy of 99% on the validation speakers; the most is")
    assert "review_threshold =" not in calibration_report(found, "test speakers").markdown()


def test_a_run_and_a_bundle_from_the_command_line(
    encoders: dict[str, Path],
    bundle_folder: Path,
    data: Path,
    recipe_of: Callable[..., Recipe],
    recipe_file: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> int:
        return exit_code(main, monkeypatch, "affectd-calibrate", *arguments, "--data", data, "--threads", 1)

    recipe = recipe_file()
    write_run(tmp_path / "mine", recipe_of(), encoders["whisper"])
    assert call("calibrated", "mine", "--out", "report", "--json") == 0
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    described = json.loads(stdout)
    assert described["wanted_accuracy"] == 0.8
    assert described["temperature"] == 1
    assert described["fitted_temperature"] > 1, "a head drawn at random must not be sure"
    assert described["protocol"].startswith("fitted on the 2 validation speakers, reported on test speakers")
    assert call("calibrated", bundle_folder, "--recipe", recipe, "--out", "other", "--accuracy", 0) == 0
    assert "review_threshold = 0.0" in capsys.readouterr().out
    assert (tmp_path / "other" / "coverage.png").is_file()
    assert call("calibrated", "mine", "--out", "report", "--force", "--accuracy", 80) == 2
    assert call("calibrated", tmp_path, "--out", "report", "--force") == 2
    assert "holds neither bundle.json" in capsys.readouterr().err
