import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calibrate.cli.app import main
from calibrate.recipe import Recipe
from helpers.calling import exit_code
from helpers.layouts import emovo, librispeech

pytestmark = pytest.mark.slow

Call = Callable[..., int]
Write = Callable[..., Path]

RAVDESS = {"name": "ravdess", "folder": "ravdess", "licence": "CC BY-NC-SA 4.0"}
OFFICE = {"name": "csv", "folder": "team", "licence": "own", "licence_verified": False}
EMOVO = {"name": "emovo", "folder": "emovo", "licence": "unclear", "role": "test"}
LIBRISPEECH = {"name": "librispeech", "folder": "librispeech", "licence": "CC BY 4.0"}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-calibrate`` inside the test's process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-calibrate", *arguments, "--threads", 1)


@pytest.fixture(scope="session")
def corpora(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the data folder, with corpora that are only tested on."""
    folder = shutil.copytree(data, tmp_path_factory.mktemp("corpora") / "data")
    emovo(folder / "emovo")
    librispeech(folder / "librispeech")
    return folder


@pytest.fixture
def measured(call: Call, recipe_file: Write, corpora: Path, encoders: dict[str, Path]) -> Callable[..., dict[str, Any]]:
    """Measure the tiny recipe with these changes; returns the report's JSON."""

    def measure(*options: object, **changes: Any) -> dict[str, Any]:
        recipe = recipe_file(**changes)
        where = ("--data", corpora, "--encoder", encoders["whisper"], "--out", "report", "--force", "--folds", 2)
        assert call("generalise", recipe, *where, *options) == 0
        report: dict[str, Any] = json.loads(Path("report/generalisation.json").read_text())
        return report

    return measure


def test_corpora_and_speakers_are_left_out(
    measured: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "head": {"kind": "dense", "dim": 8},
        "schedule": {"epochs": 12},
        "corpora": [RAVDESS, OFFICE, EMOVO, LIBRISPEECH | {"role": "test"}],
        "labels": ["neutral", "happy", "angry", "sad"],
    }
    report = measured("--seeds", 2, "--streams", 1, **settings)
    shown = capsys.readouterr().out
    assert "tiny: corpora and speakers left out" in shown
    assert "tiny, seeds 0 to 1, 1 streams of each kind and label, 2 folds over 10 speakers" in report["protocol"]
    assert report["speakers"] == {"ravdess": 6, "office": 4, "emovo": 3}, "whatever splits.csv says"
    left_out = {(row["corpus"], row["as"]): row for row in report["left_out"]}
    kinds = ("files", "balanced", "half", "four fifths")
    assert set(left_out) == {(corpus, kind) for corpus in ("ravdess", "office", "emovo", "mean") for kind in kinds}
    assert left_out["ravdess", "files"]["taught_by"] == ["office"]
    assert left_out["emovo", "files"]["taught_by"] == ["office", "ravdess"]
    assert left_out["emovo", "files"]["untaught"] == ["sad"], "counts as 0"
    assert left_out["ravdess", "files"]["untaught"] == []
    for (corpus, kind), row in left_out.items():
        ua = row["without"]["ua"]
        assert ua["interval"][0] <= ua["value"] <= ua["interval"][1]
        assert ua["value"] >= row["without"]["ua_any_label"]["value"] - 0.1
        assert 0 <= row["without"]["ece"] <= 1
        assert (row["room"] is None) == (kind == "files")
        if corpus == "emovo":
            assert ua["value"] <= 0.75, "one of four labels is never right"
        elif kind == "files":
            assert ua["value"] > 0.5, "chance is 1/3, and the tones are alike"
        if kind != "files":
            assert row["gain"]["value"] == pytest.approx(row["room"]["ua"]["value"] - ua["value"], abs=2e-4)
    assert [len(values) for values in report["temperatures"].values()] == [2, 2, 2]
    folds = {(row["corpus"], row["as"]) for row in report["folds"]}
    assert folds == {(corpus, kind) for corpus in ("ravdess", "office", "mean") for kind in kinds}
    assert set(report["cold_start"]) == {"ravdess", "office", "emovo", "mean"}
    assert list(report["cold_start"]["mean"]) == ["0", "1", "2", "4", "8"]
    files, stream = report["everyday"]
    assert (files["corpus"], files["as"], files["label"], files["room"]) == ("librispeech", "files", "neutral", None)
    assert (stream["as"], stream["speakers"]) == ("one stream", files["speakers"])
    assert 0 <= stream["room"]["surely_else"] <= 1
    assert len(report["speaker_gains"]) == 10
    assert {(gain["corpus"], gain["condition"], gain["clips"]) for gain in report["enrolment"]} >= {
        ("ravdess", "unlabelled", 8),
        ("office", "one-sided", 8),
    }
    text = Path("report/generalisation.md").read_text()
    assert "Nobody taught sad: the recall of that counts as 0." in text
    widths = {line.count("|") for line in text.partition("\n\nravdess: ")[0].splitlines() if line.startswith("|")}
    assert widths == {14}, "every figure has its heading"
    assert Path("report/cold-start.png").stat().st_size > 1_000


def test_the_same_again_is_the_same(
    measured: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    report = measured("--quick")
    assert report["everyday"] == []
    assert "seeds 0 to 0, 1 streams of each kind and label" in report["protocol"]
    first = Path("report/generalisation.json").read_bytes()
    capsys.readouterr()
    measured("--quick", "--json")
    assert json.loads(capsys.readouterr().out) == report
    assert Path("report/generalisation.json").read_bytes() == first


def test_everyday_speech_that_trains_is_tested_on_its_other_half(measured: Callable[..., dict[str, Any]]) -> None:
    untaught = measured("--quick", corpora=[RAVDESS, OFFICE, LIBRISPEECH | {"role": "test"}])
    taught = measured("--quick", corpora=[RAVDESS, OFFICE, LIBRISPEECH])
    assert [row["speakers"] for row in taught["everyday"]] == [row["speakers"] for row in untaught["everyday"]]
    shares = [report["everyday"][0]["without"]["share"]["value"] for report in (untaught, taught)]
    assert shares[1] > shares[0], "a corpus of its own, of which nobody else knows that it is neutral"
    assert {row["corpus"] for row in taught["left_out"]} == {"ravdess", "office", "mean"}


def test_a_fine_tuned_encoder_is_trained_anew_without_each_corpus(measured: Callable[..., dict[str, Any]]) -> None:
    report = measured("--quick", encoder={"finetune": 1}, schedule={"epochs": 1}, finetune={"epochs": 1})
    assert len(report["left_out"]) == 12


@pytest.mark.parametrize("corpora_of", [[RAVDESS], [RAVDESS, LIBRISPEECH], [RAVDESS, EMOVO]])
def test_one_corpus_cannot_be_left_out(
    corpora_of: list[dict[str, Any]],
    call: Call,
    recipe_file: Write,
    corpora: Path,
    encoders: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ("--data", corpora, "--encoder", encoders["whisper"], "--out", "report")
    assert call("generalise", recipe_file(corpora=corpora_of), *where) == 2
    assert "takes at least two that train and have several labels: there is ravdess" in capsys.readouterr().err


def test_what_is_only_tested_on_is_never_trained_on(
    call: Call, recipe_file: Write, corpora: Path, encoders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--data", corpora, "--encoder", encoders["whisper"], "--out", "run")
    assert call("train", recipe_file(corpora=[RAVDESS, OFFICE, EMOVO, LIBRISPEECH]), *where) == 0
    run = json.loads(Path("run/run.json").read_text())
    assert [corpus["name"] for corpus in run["corpora"]] == ["ravdess", "office", "librispeech"]
    assert not [speaker for speaker in run["speakers"] if speaker.startswith("emovo")]
    half = {speaker for speaker in run["speakers"] if speaker.startswith("librispeech")}
    assert 0 < len(half) < 8


@pytest.mark.parametrize("disguised", [False, True])
def test_a_corpus_for_evaluation_only_cannot_be_trained_on(
    disguised: bool,
    call: Call,
    recipe_file: Write,
    corpora: Path,
    encoders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    careless = EMOVO | {"role": "train"}
    if disguised:
        clips = sorted((corpora / "emovo").rglob("*.wav"))
        rows = [f"{path},{path.stem[4:6]},neutral" for path in clips]
        (tmp_path / "mine.csv").write_text("\n".join(["path,speaker,emotion", *rows]))
        careless = OFFICE | {"folder": str(tmp_path / "mine.csv")}
    recipe = recipe_file(corpora=[RAVDESS, careless], splits={"file": ""})
    assert call("train", recipe, "--data", corpora, "--encoder", encoders["whisper"], "--out", "run") == 2
    assert "is of emovo, whose licence allows evaluation only" in capsys.readouterr().err
    assert not Path("run/model.safetensors").exists()


def test_a_recipe_needs_something_to_train_on(recipe_of: Callable[..., Recipe]) -> None:
    with pytest.raises(ValueError, match='at least one \\[\\[corpora\\]\\] is needed with role = "train"'):
        recipe_of(corpora=[EMOVO])
