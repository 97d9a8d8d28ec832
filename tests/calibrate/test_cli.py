import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calibrate.cli.app import main
from edge.cli.kit.entry import PACKAGES
from edge.errors import UsageError
from helpers.calling import exit_code

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HEARD = "what is spoken in each file"

Call = Callable[..., int]
Write = Callable[..., Path]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-calibrate`` inside the test's process, in an empty folder, and return its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: object) -> int:
        threads = () if arguments[0] == "corpus" else ("--threads", 1)
        return exit_code(main, monkeypatch, "affectd-calibrate", *arguments, *threads)

    return call


def test_from_a_corpus_folder_to_figures_in_a_process_of_its_own(
    encoders: dict[str, Path], data: Path, tmp_path: Path, recipe_file: Write
) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "COLUMNS": "160"}
    recipe = recipe_file(schedule={"epochs": 20})
    command = ["train", recipe, "--data", data, "--encoder", encoders["whisper"], "--threads", 1]
    done = subprocess.run(
        [sys.executable, "-m", "calibrate", *map(str, command)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "tiny: validation speakers" in done.stdout
    assert done.stdout.endswith("run written to runs/tiny\n")
    folder = tmp_path / "runs" / "tiny"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "checkpoint.pt",
        "log.csv",
        "model.safetensors",
        "run.json",
        "training.png",
        "validation/confusion-office.png",
        "validation/confusion-ravdess.png",
        "validation/metrics.json",
        "validation/report.md",
    }
    metrics = json.loads((folder / "validation" / "metrics.json").read_text())
    assert (
        metrics["protocol"] == "validation speakers of splits.csv, never trained on; what is spoken in each file, torch"
    )
    assert len(list((tmp_path / "cache").iterdir())) == 5, "training and validation of both corpora, and one copy"


def test_the_command_line_itself_waits_for_no_torch() -> None:
    code = "import sys, calibrate.cli.commands; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"head": {"kind": "linear"}}, ()),
        ({"head": {"kind": "dense"}, "schedule": {"epochs": 15, "learning_rate": 0.01}}, ("--strict",)),
        ({"head": {"mix": "weighted"}, "schedule": {"epochs": 15}}, ("--device", "cpu")),
    ],
)
def test_train_then_evaluate(
    changes: dict[str, Any],
    options: tuple[str, ...],
    call: Call,
    encoders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    recipe_file: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ("--data", data, "--encoder", encoders["whisper"])
    assert call("train", recipe_file(**changes), *where, "--out", "out", "--cache", "kept", *options) == 0
    assert (tmp_path / "kept").is_dir()
    assert not (tmp_path / "cache").exists()
    capsys.readouterr()
    assert call("evaluate", "out", "--data", data, "--cache", "kept", "--json", "--out", "report") == 0
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    result = json.loads(stdout)
    assert (
        result["protocol"]
        == "test speakers of splits.csv, never trained on; what is spoken in each file; run out, torch"
    )
    assert {name: row["utterances"] for name, row in result["corpora"].items()} == {"ravdess": 6, "office": 6}
    assert all(row["ua"] > 0.6 for row in result["corpora"].values()), "chance is 1/3"
    assert json.loads((tmp_path / "report" / "metrics.json").read_text()) == result
    assert (tmp_path / "report" / "confusion-office.png").is_file()
    assert call("evaluate", "out", "--data", data, "--cache", "kept", "--split", "train") == 0
    assert "train speakers of splits.csv, 6 of 6 trained on" in " ".join(capsys.readouterr().out.split())


def test_a_run_is_resumed(
    call: Call, encoders: dict[str, Path], data: Path, tmp_path: Path, recipe_file: Write
) -> None:
    where = ("--data", data, "--encoder", encoders["whisper"])
    assert call("train", recipe_file(schedule={"epochs": 2}), *where) == 0
    log = tmp_path / "runs" / "tiny" / "log.csv"
    first = log.read_text()
    assert call("train", recipe_file(schedule={"epochs": 3}), *where, "--resume") == 0
    assert log.read_text().startswith(first)
    assert [row["epoch"] for row in csv.DictReader(log.open())] == ["1", "2", "3"]


def test_without_a_corpus_nobody_it_drew_is_tested_who_trained(
    call: Call,
    encoders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    recipe_file: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawn = {"file": "", "fractions": [0.5, 0.2, 0.3]}
    recipe = recipe_file(splits=drawn, schedule={"epochs": 1})
    (tmp_path / "partly").mkdir()
    shutil.copytree(data / "ravdess", tmp_path / "partly" / "ravdess")
    where = ("--data", "partly", "--encoder", encoders["whisper"])
    assert call("train", recipe, *where, "--without", "csv") == 0
    run = json.loads((tmp_path / "runs" / "tiny" / "run.json").read_text())
    assert [corpus["name"] for corpus in run["recipe"]["corpora"]] == ["ravdess"]
    assert [(corpus["name"], corpus["speakers"]) for corpus in run["corpora"]] == [("ravdess", 3)]
    capsys.readouterr()
    assert call("evaluate", "runs/tiny", "--data", "partly", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["protocol"].startswith("test speakers of a seeded draw, never trained on;")
    assert not set(result["corpora"]["ravdess"]["speaker_ua"]) & set(run["speakers"])
    assert call("evaluate", "runs/tiny", "--data", data, "--recipe", recipe, "--split", "train", "--json") == 0
    protocol = json.loads(capsys.readouterr().out)["protocol"]
    assert f" of 5 trained on; {HEARD}" in protocol, "another draw, and the report says whom it knows"


def test_a_bundle_is_evaluated_by_a_recipe(
    call: Call, bundle_folder: Path, data: Path, recipe_file: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_file(labels=["angry", "sad", "neutral", "happy"])
    assert call("evaluate", bundle_folder, "--data", data, "--recipe", recipe, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["protocol"].endswith("; what is spoken in each file; bundle tiny, fp32, CPUExecutionProvider")
    assert list(result["corpora"]["ravdess"]["classes"]) == ["neutral", "happy", "angry"], "labels of the bundle"
    assert result["corpora"]["office"]["ua"] > 0.6, "loudness tells"


def test_a_run_keeps_its_own_labels_whatever_the_recipe_says(
    call: Call, encoders: dict[str, Path], data: Path, tmp_path: Path, recipe_file: Write
) -> None:
    where = ("--data", data, "--encoder", encoders["whisper"])
    assert call("train", recipe_file(schedule={"epochs": 1}), *where) == 0
    recipe = recipe_file(labels=["sad", "angry", "fear", "happy", "neutral"])
    assert call("evaluate", "runs/tiny", "--data", data, "--recipe", recipe, "--out", "report") == 0
    assert len(json.loads((tmp_path / "report" / "metrics.json").read_text())["corpora"]["office"]["confusion"]) == 3


def test_corpus_lists_what_a_folder_holds(
    call: Call, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("corpus", "csv", data / "team", "--json") == 0
    listing = json.loads(capsys.readouterr().out)
    assert listing["utterances"] == 24
    assert listing["emotions"] == {"angry": 8, "happy": 8, "neutral": 8}
    assert set(listing["speakers"]) == {"office-anna", "office-ben", "office-cem", "office-dana"}
    assert listing["refused"] == []
    shutil.copytree(data / "ravdess", tmp_path / "ravdess")
    (tmp_path / "ravdess" / "note.wav").touch()
    assert call("corpus", "ravdess", tmp_path / "ravdess") == 0
    stdout = capsys.readouterr().out
    assert "ravdess: 36 utterances" in stdout
    assert "6 speakers: 3 m, 3 f" in stdout
    assert "refused: note.wav: 'note.wav' is not named" in stdout
    assert call("corpus", "ravdess", tmp_path / "ravdess", "--strict") == 2
    assert "1 audio files are not ravdess" in capsys.readouterr().err


def test_mistakes_are_told_in_one_line(
    call: Call,
    encoders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    recipe_file: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = recipe_file()
    wrong, few, whole = tmp_path / "wrong.toml", tmp_path / "few.toml", tmp_path / "whole.toml"
    wrong.write_text(recipe.read_text().replace("epochs", "epoch"))
    drawn = recipe_file(splits={"file": "", "fractions": [0.6, 0.2, 0.2]}).read_text()
    few.write_text(drawn.replace('folder = "team"', 'folder = "few"'))
    whole.write_text(drawn.replace("[0.6, 0.2, 0.2]", "[1.0, 0.0, 0.0]"))
    recipe_file()
    only_two = shutil.copytree(data / "team", tmp_path / "few")
    table = (only_two / "office.csv").read_text().splitlines()
    (only_two / "office.csv").write_text("\n".join(row for row in table if "cem" not in row and "dana" not in row))
    train = ("train", recipe, "--data", data, "--encoder", encoders["whisper"])
    for code, message, arguments in (
        (2, "corpus 'ravdes' is not one of", ("corpus", "ravdes", data / "ravdess")),
        (2, "(did you mean 'ravdess'?)", ("corpus", "ravdes", data / "ravdess")),
        (2, "gone: no such folder", ("corpus", "ravdess", tmp_path / "gone")),
        (2, "holds no recording of esd", ("corpus", "esd", data / "ravdess")),
        (2, "gone/ravdess: no such folder", ("train", recipe, "--data", tmp_path / "gone")),
        (2, "did you mean 'epochs'?", ("train", wrong, "--data", data)),
        (2, "cannot read recipe", ("train", tmp_path / "gone.toml", "--data", data)),
        (2, "--without nemo: the recipe has ravdess, csv", (*train, "--without", "nemo")),
        (2, "no corpus is left", (*train, "--without", "csv", "--without", "ravdess")),
        (2, "device 'abacus' is not usable here", (*train, "--device", "abacus")),
        (2, "device 'meta' is not usable here", (*train, "--device", "meta")),
        (2, "2 speakers cannot be split into 3 parts", ("train", few, "--data", tmp_path, "--without", "ravdess")),
        (2, "no speaker of the corpora is in the validation split", ("train", whole, "--data", data)),
        (3, "gone' (no such folder)", ("train", recipe, "--data", data, "--encoder", tmp_path / "gone")),
        (3, "is not one of whisper", ("train", recipe, "--data", data, "--encoder", encoders["bert"])),
        (2, "holds neither bundle.json", ("evaluate", tmp_path, "--data", data)),
        (
            2,
            "split 'tests' is not one of train, validation, test",
            ("evaluate", tmp_path, "--data", data, "--split", "tests"),
        ),
    ):
        assert call(*arguments) == code, arguments
        stdout, stderr = capsys.readouterr()
        assert stdout == ""
        assert message in stderr
        assert stderr.startswith("affectd-calibrate: ")
        assert stderr.count("\n") == 1, stderr
    assert not (tmp_path / "runs").exists()


def test_a_file_where_a_folder_should_be(
    call: Call, encoders: dict[str, Path], data: Path, recipe_file: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_file()
    for option in ("--out", "--cache"):
        assert call("train", recipe, "--data", data, "--encoder", encoders["whisper"], option, recipe) == 2
        assert f"'{option}'" in capsys.readouterr().err


def test_evaluating_needs_a_recipe_for_a_bundle_and_people_in_the_split(
    call: Call,
    encoders: dict[str, Path],
    bundle_folder: Path,
    data: Path,
    recipe_file: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("evaluate", bundle_folder, "--data", data) == 2
    assert "a bundle is evaluated with --recipe" in capsys.readouterr().err
    recipe = recipe_file(splits={"file": "", "fractions": [0.6, 0.4, 0.0]}, schedule={"epochs": 1})
    assert call("train", recipe, "--data", data, "--encoder", encoders["whisper"]) == 0
    capsys.readouterr()
    assert call("evaluate", "runs/tiny", "--data", data) == 2
    assert capsys.readouterr().err == "affectd-calibrate: no speaker of the corpora is in the test split\n"


def test_debug_shows_where_an_error_came_from(call: Call, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for package in PACKAGES:
        caplog.set_level("WARNING", logger=package)  # is put back when the test ends
    with pytest.raises(UsageError, match="no such folder"):
        call("corpus", "ravdess", tmp_path / "gone", "--debug")


def test_adaptation_measures_enrolment_of_a_run(
    encoders: dict[str, Path],
    data: Path,
    call: Call,
    recipe_file: Write,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    recipe = recipe_file(head={"kind": "linear"})
    assert call("train", recipe, "--data", data, "--encoder", encoders["whisper"]) == 0
    assert call("adaptation", "runs/tiny", "--data", data, "--out", "report") == 0
    assert "UA by enrolment clips" in capsys.readouterr().out
    assert {path.suffix for path in (tmp_path / "report").iterdir()} == {".md", ".json", ".png"}
    assert call("adaptation", "runs/tiny", "--data", data, "--out", "other", "--split", "train") == 2
    assert "were trained on" in capsys.readouterr().err
