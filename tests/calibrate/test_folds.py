import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibrate.cli.app import main
from calibrate.experiments.folds import EMOTIONS, with_labels
from calibrate.recipe import Recipe
from helpers.calling import exit_code

pytestmark = pytest.mark.slow

Call = Callable[..., int]
Write = Callable[..., Path]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-calibrate folds`` inside the test's process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "180")
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-calibrate", "folds", *arguments, "--threads", 1)


@pytest.fixture
def folds(
    call: Call,
    recipe_file: Write,
    data: Path,
    encoders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., dict[str, Any]]:
    """Run the command on the tiny corpora and return its JSON."""
    recipe = recipe_file(schedule={"epochs": 8})

    def run(*options: object) -> dict[str, Any]:
        where = ("--data", data, "--encoder", encoders["whisper"], "--out", "report", "--force")
        assert call(recipe, *where, *options) == 0
        capsys.readouterr()
        return json.loads((tmp_path / "report" / "folds.json").read_text())

    return run


def test_emobox_on_one_corpus_alone_and_with_the_other(folds: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    report = folds("--corpus", "ravdess", "--split", "emobox", "--seeds", 2)
    assert set(report["trainings"]) == {"alone", "joint"}
    assert len(report["folds"]) == 2 * 2 * 6, "six actors are left out one by one, by two seeds"
    alone, joint = (
        [fold for fold in report["folds"] if fold["training"] == training] for training in ("alone", "joint")
    )
    assert {speaker for fold in alone for speaker in fold["held_out"]} == {f"ravdess-0{actor}" for actor in range(1, 7)}
    assert {fold["trained_on"] for fold in alone} == {5}
    assert {fold["trained_on"] for fold in joint} == {5 + 3}, "the other corpus without its test speaker"
    assert all(fold["shared"] == 0 for fold in report["folds"])
    assert [fold["genders"] for fold in alone[:2]] == [{"m": 1}, {"f": 1}]
    mean = np.mean([fold["figures"]["ua"] for fold in alone])
    assert report["trainings"]["alone"]["ua"] == pytest.approx(mean, abs=1e-3)
    assert report["trainings"]["alone"]["pooled"]["utterances"] == 2 * 36
    assert mean > 0.6, "chance is 1/3"
    assert (tmp_path / "report" / "joint" / "confusion-ravdess.png").is_file()
    text = (tmp_path / "report" / "folds.md").read_text()
    assert "| alone | 12 |" in text
    assert "![confusion matrix, joint](joint/confusion-ravdess.png)" in text


def test_random_is_marked_as_such(folds: Callable[..., dict[str, Any]]) -> None:
    report = folds("--corpus", "office", "--split", "random", "--training", "alone")
    (fold,) = report["folds"]
    assert fold["shared"] == len(fold["held_out"]) == fold["trained_on"] == 4
    assert fold["genders"] == {"unknown": 4}
    assert "THE SAME SPEAKERS ON ALL SIDES" in report["protocol"]
    assert set(report["trainings"]) == {"alone"}


def test_folds_by_speaker_and_one_by_one(folds: Callable[..., dict[str, Any]]) -> None:
    report = folds("--corpus", "ravdess", "--split", "speaker", "--folds", 3, "--training", "alone")
    assert [fold["genders"] for fold in report["folds"]] == [{"f": 1, "m": 1}] * 3
    report = folds("--corpus", "office", "--split", "loso", "--training", "joint")
    assert [len(fold["held_out"]) for fold in report["folds"]] == [1] * 4
    assert {fold["trained_on"] for fold in report["folds"]} == {3 + 5}


def test_a_fine_tuned_encoder_is_loaded_anew_for_every_fold(
    call: Call, recipe_file: Write, data: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_file(encoder={"finetune": 1}, schedule={"epochs": 1}, finetune={"epochs": 1})
    where = ("--data", data, "--encoder", encoders["whisper"], "--out", "report", "--corpus", "office")
    assert call(recipe, *where, "--split", "speaker", "--folds", 2, "--training", "alone") == 0
    assert len(json.loads((tmp_path / "report" / "folds.json").read_text())["folds"]) == 2


def test_labels_of_a_corpus(data: Path, recipe_of: Callable[..., Recipe]) -> None:
    recipe = recipe_of(labels=["sad", "angry", "neutral"])
    assert with_labels(recipe, data, "ravdess", "recipe").labels == ("sad", "angry", "neutral")
    assert with_labels(recipe, data, "ravdess", "all").labels == ("neutral", "happy", "angry")
    assert with_labels(recipe, data, "ravdess", "happy, angry").labels == ("happy", "angry")
    assert "calm" in EMOTIONS
    assert "other" not in EMOTIONS


def test_mistakes_are_told_in_one_line(
    call: Call, recipe_file: Write, data: Path, encoders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_file()
    for message, options in (
        ("--split 'emobx' is not one of random, speaker, emobox", ("--split", "emobx")),
        ("did you mean 'emobox'?", ("--split", "emobx")),
        ("--corpus says which of ravdess, office is split", ()),
        ("--corpus ravdes: the recipe has ravdess, office (did you mean 'ravdess'?)", ("--corpus", "ravdes")),
        ("--training 'all' is not one of alone, joint, both", ("--training", "all")),
        ("label 'angri' is not one of", ("--corpus", "ravdess", "--labels", "happy,angri")),
        ("at least two are needed", ("--corpus", "ravdess", "--labels", "happy")),
        ("emosuperb has folds for crema-d, not for ravdess", ("--corpus", "ravdess", "--split", "emosuperb")),
        ("9 folds are not possible", ("--corpus", "ravdess", "--folds", 9)),
    ):
        where = ("--data", data, "--encoder", encoders["whisper"], "--out", "report")
        assert call(recipe, *where, *options) == 2, options
        stderr = capsys.readouterr().err
        assert message in stderr
        assert stderr.count("\n") == 1, stderr
