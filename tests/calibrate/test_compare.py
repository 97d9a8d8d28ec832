import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from calibrate.bootstrap import mean_interval
from calibrate.cli.app import main
from calibrate.corpora import Utterance
from calibrate.dataset import Part
from calibrate.experiments.compare.comparison import EVERYONE, compare, in_common, sign_flip_test
from calibrate.experiments.compare.experiment import comparison_report, reading
from calibrate.recipe import Recipe
from calibrate.trained import Answers
from edge.errors import UsageError
from helpers.calling import exit_code
from helpers.run_folders import write_run

Call = Callable[..., int]
Write = Callable[..., Path]

gains = st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=8).map(np.array)


def answered(right: Callable[[int], bool], speakers: int = 12, corpus: str = "x") -> Answers:
    """Six utterances of each speaker, two labels; the answer is right where the row says so."""
    rows = range(6 * speakers)
    labels = np.array([row % 2 for row in rows], np.int64)
    utterances = [Utterance(Path(f"{corpus}{row}.wav"), corpus, f"{corpus}-{row // 6:02d}", "happy") for row in rows]
    named = np.array([label if right(row) else 1 - label for row, label in zip(rows, labels, strict=True)])
    return Answers(Part(utterances, labels), np.eye(2, dtype=np.float32)[named])


def joined(*answers: Answers) -> Answers:
    utterances = [utterance for answer in answers for utterance in answer.part.utterances]
    labels = np.concatenate([answer.part.labels for answer in answers])
    return Answers(Part(utterances, labels), np.concatenate([answer.probabilities for answer in answers]))


@given(gains)
@settings(max_examples=30, deadline=None)
def test_few_speakers_are_tested_exactly(gains: np.ndarray) -> None:
    sums = [abs(np.dot(signs, gains)) for signs in itertools.product((-1, 1), repeat=len(gains))]
    expected = np.mean([reached >= abs(gains.sum()) - 1e-9 for reached in sums])
    assert sign_flip_test(gains) == pytest.approx(expected)
    assert sign_flip_test(gains) == sign_flip_test(-gains)


@given(gains, st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_the_interval_lies_within_what_was_seen(gains: np.ndarray, seed: int) -> None:
    low, high = mean_interval(gains, seed)
    if len(gains) < 2:
        assert np.isnan([low, high]).all(), "one speaker says nothing of others"
        return
    assert gains.min() - 1e-9 <= low <= high <= gains.max() + 1e-9
    assert (low, high) == mean_interval(gains, seed)


def test_many_speakers_are_tested_by_a_draw() -> None:
    rng = np.random.default_rng(0)
    none = [sign_flip_test(rng.normal(size=30)) for _ in range(60)]
    assert 0.3 < np.mean(none) < 0.7, "uniform where there is no difference"
    assert sign_flip_test(rng.normal(0.1, 0.05, size=30)) < 0.001
    assert sign_flip_test(np.zeros(30)) == 1.0


def test_a_model_that_is_better_for_everyone() -> None:
    found, by_speaker = compare(answered(lambda row: row % 3 > 0), answered(lambda row: True))
    (row,) = found.values()
    assert (row.speakers, row.utterances, row.better, row.worse) == (12, 72, 12, 0)
    assert row.ua == (pytest.approx(2 / 3), 1.0)
    assert row.gain == pytest.approx(1 / 3) == row.low == row.high
    assert row.p == pytest.approx(2 / 2**12)
    assert by_speaker["x-00"] == (pytest.approx(2 / 3), 1.0)
    assert reading("x", row) == "x: B is better for speakers like these (p = 0.00049)."
    (back,) = compare(answered(lambda row: True), answered(lambda row: row % 3 > 0))[0].values()
    assert back.gain == -row.gain
    assert reading("x", back).startswith("x: A is better")


def test_corpora_apart_and_together() -> None:
    first = joined(answered(lambda row: True, 4, "x"), answered(lambda row: row % 2 == 0, 8, "y"))
    second = joined(answered(lambda row: row != 0, 4, "x"), answered(lambda row: row % 2 == 0, 8, "y"))
    found, by_speaker = compare(first, second)
    assert {name: row.speakers for name, row in found.items()} == {"x": 4, "y": 8, EVERYONE: 12}
    assert len(by_speaker) == 12
    assert reading("x", found["x"]) == "x: 4 speakers cannot show a difference: p cannot be below 0.12."
    assert reading("y", found["y"]) == "y: no difference is shown (p = 1)."


def test_only_what_both_could_read_counts() -> None:
    whole = answered(lambda row: True)
    kept = np.arange(72) % 5 > 0
    fewer = Answers(whole.part.select(kept), whole.probabilities[kept])
    for pair in (in_common(whole, fewer), in_common(fewer, whole)):
        assert pair[0].part.paths == pair[1].part.paths == fewer.part.paths
        np.testing.assert_array_equal(pair[0].probabilities, pair[1].probabilities)
    other = answered(lambda row: True, corpus="z")
    with pytest.raises(UsageError, match="no readable utterance in common"):
        in_common(whole, other)


def test_the_report(tmp_path: Path) -> None:
    found, by_speaker = compare(answered(lambda row: row % 3 > 0), answered(lambda row: True))
    report = comparison_report(found, by_speaker, ("run old", "run new"), "test speakers")
    report.write(tmp_path / "deep" / "out")
    out = tmp_path / "deep" / "out"
    assert {path.name for path in out.iterdir()} == {"comparison.md", "comparison.json", "comparison.png"}
    described = json.loads((out / "comparison.json").read_text())
    assert (described["a"], described["b"]) == ("run old", "run new")
    assert described["comparisons"]["x"]["gain"] == 0.3333
    assert described["speaker_ua"]["x-11"] == [0.6667, 1.0]
    text = report.markdown()
    assert "| x | 12 | 72 | 0.667 | 1.000 | +33.3 (+33.3 to +33.3) | 0.0005 | 12 : 0 |" in text
    assert "Protocol: test speakers." in text
    comparison_report(found, {"x-00": (1.0, 1.0)}, ("a", "b"), "all right").write(tmp_path / "same")
    assert plt.get_fignums() == []


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-calibrate", *arguments, "--threads", 1)


def test_a_run_against_a_bundle(
    call: Call,
    encoders: dict[str, Path],
    bundle_folder: Path,
    data: Path,
    recipe_of: Callable[..., Recipe],
    recipe_file: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = recipe_file()
    write_run(tmp_path / "mine", recipe_of(), encoders["whisper"])
    assert call("compare", "mine", bundle_folder, "--data", data, "--out", "report", "--json") == 0
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    described = json.loads(stdout)
    assert described == json.loads((tmp_path / "report" / "comparison.json").read_text())
    assert {name: row["speakers"] for name, row in described["comparisons"].items()} == {
        "ravdess": 1,
        "office": 1,
        EVERYONE: 2,
    }
    assert described["a"] == "run mine, torch"
    assert described["b"].startswith("bundle tiny, fp32")
    assert call("compare", bundle_folder, bundle_folder, "--data", data, "--recipe", recipe, "--split", "train") == 0
    stdout = capsys.readouterr().out
    assert "office: 2 speakers cannot show a difference" in stdout
    assert "train speakers of splits.csv" in stdout
    write_run(tmp_path / "other", recipe_of(labels=["neutral", "happy", "sad"]), encoders["whisper"])
    assert call("compare", "mine", "other", "--data", data) == 2
    assert "different labels" in capsys.readouterr().err


def test_two_encoders_get_a_head_each(
    call: Call, encoders: dict[str, Path], data: Path, recipe_file: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = (encoders["wav2vec2"], encoders["hubert"])
    options = (
        "--data",
        data,
        "--recipe",
        recipe_file(schedule={"epochs": 1}, augmentation={"copies": 0}),
        "--folds",
        2,
        "--json",
    )
    assert call("compare", *pair, *options) == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["a"], described["b"]) == ("wav2vec2", "hubert")
    assert described["comparisons"]["ravdess"]["speakers"] == 5, "everyone but the test speaker, held out once"
    assert described["comparisons"][EVERYONE]["utterances"] == 48
    assert "each heard by a head of recipe tiny that was trained without them" in described["protocol"]


def test_mistakes_are_told_in_one_line(
    call: Call,
    encoders: dict[str, Path],
    bundle_folder: Path,
    data: Path,
    recipe_file: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hubert, recipe = encoders["hubert"], recipe_file()
    tuned = recipe_file(encoder={"finetune": 1}).rename("tuned.toml")
    recipe_file()
    for code, message, arguments in (
        (2, "comparing encoders needs --recipe", (hubert, hubert)),
        (2, "one is trained, the other an encoder", (hubert, bundle_folder, "--recipe", recipe)),
        (2, "a bundle is evaluated with --recipe", (bundle_folder, bundle_folder)),
        (2, "split 'tests' is not one of", (bundle_folder, bundle_folder, "--recipe", recipe, "--split", "tests")),
        (2, "encoder.finetune must be 0", (hubert, hubert, "--recipe", tuned)),
        (2, "too few for 9 folds", (hubert, hubert, "--recipe", recipe, "--folds", 9)),
        (3, "(no such folder)", (hubert, "gone", "--recipe", recipe, "--folds", 2)),
    ):
        assert call("compare", *arguments, "--data", data) == code
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1, error
