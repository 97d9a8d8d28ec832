import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calibrate.cli.app import main
from calibrate.experiments.generalisation import LeftOut, Outcome, generalisation_report, rows
from calibrate.report import spread
from helpers.calling import exit_code

pytestmark = pytest.mark.slow

Call = Callable[..., int]
Write = Callable[..., Path]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-calibrate generalise`` inside the test's process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "180")
    return lambda *arguments: exit_code(
        main, monkeypatch, "affectd-calibrate", "generalise", *arguments, "--threads", 1
    )


def test_each_corpus_is_left_out_in_turn(
    call: Call,
    recipe_file: Write,
    data: Path,
    encoders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = recipe_file(head={"kind": "dense", "dim": 8}, schedule={"epochs": 12})
    where = ("--data", data, "--encoder", encoders["whisper"], "--out", "report")
    assert call(recipe, *where, "--seeds", 2) == 0
    assert "tiny: corpora left out" in capsys.readouterr().out
    report = json.loads((tmp_path / "report" / "generalisation.json").read_text())
    assert report["protocol"].endswith("(seeds 0 to 1); splits: splits.csv")
    ravdess, office = report["corpora"]
    assert (ravdess["corpus"], ravdess["taught_by"]) == ("ravdess", ["office"])
    assert (office["corpus"], office["taught_by"]) == ("office", ["ravdess"])
    assert (ravdess["others"]["speakers"], ravdess["others"]["utterances"]) == (5, 30), "train and validation"
    assert (office["others"]["speakers"], office["test"]["speakers"]) == (3, 1)
    for row in (ravdess, office):
        assert row["untaught"] == []
        for outcome in (row["others"], row["test"]):
            assert len(outcome["ua"]) == 2
            assert outcome["ua"] == outcome["taught_ua"]
            assert np.mean(outcome["ua"]) > 0.5, "chance is 1/3, and the tones are alike"
    first = (tmp_path / "report" / "generalisation.json").read_bytes()
    assert call(recipe, *where, "--seeds", 2, "--json") == 0
    assert json.loads(capsys.readouterr().out) == report
    assert (tmp_path / "report" / "generalisation.json").read_bytes() == first


def test_a_fine_tuned_encoder_generalises_or_not(
    call: Call, recipe_file: Write, data: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_file(encoder={"finetune": 1}, schedule={"epochs": 1}, finetune={"epochs": 1})
    where = ("--data", data, "--encoder", encoders["whisper"], "--out", "report")
    assert call(recipe, *where, "--seeds", 1) == 0
    report = json.loads((tmp_path / "report" / "generalisation.json").read_text())
    assert [len(row["others"]["ua"]) for row in report["corpora"]] == [1, 1]


def test_what_nobody_taught_is_said(call: Call) -> None:
    found = [
        LeftOut(
            "a", ["b"], ["disgust"], Outcome(4, 40, [0.4, 0.5], [0.5, 0.6]), Outcome(1, 10, [0.3, 0.3], [0.4, 0.4])
        ),
        LeftOut("b", ["a"], [], Outcome(2, 20, [0.6, 0.7], [0.6, 0.7]), Outcome(0, 0, [], [])),
    ]
    report = generalisation_report(found, "tiny", "p")
    text = report.markdown()
    assert "a: nobody else has disgust, which count as 0 in UA and not in UA, taught." in text
    assert "b: nobody" not in text
    cells = rows(found)
    assert cells[0] == ["a", "b", "4", "0.450 ± 0.071", "0.550 ± 0.071", "1", "0.300 ± 0.000", "0.400 ± 0.000"]
    assert cells[1][-2:] == ["-", "-"], "no fixed test speakers"
    assert cells[2] == ["mean", "", "", "0.550 ± 0.071", "0.600 ± 0.071", "", "0.300 ± 0.000", "0.400 ± 0.000"]
    assert report.values["corpora"][1]["test"] == {"speakers": 0, "utterances": 0, "ua": [], "taught_ua": []}
    assert spread([0.5]) == "0.500"


def test_one_corpus_cannot_be_left_out(
    call: Call, recipe_file: Write, data: Path, encoders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    corpora = [{"name": "ravdess", "folder": "ravdess", "licence": "CC BY-NC-SA 4.0"}]
    where = ("--data", data, "--encoder", encoders["whisper"], "--out", "report")
    assert call(recipe_file(corpora=corpora), *where) == 2
    assert "has no corpus but ravdess" in capsys.readouterr().err
