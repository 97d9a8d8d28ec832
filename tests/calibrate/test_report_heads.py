"""The heads of the reports, each by its documented command, on CREMA-D and ESD in their official layouts."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import export.cli.app
from calibrate.cli.app import main
from calibrate.dataset import read_parts
from calibrate.recipe import Recipe
from calibrate.run import build_run
from calibrate.train import train_run
from calibrate.training.clip_mfcc import clip_mfcc, speaker_mfcc
from calibrate.training.trainer import validate
from edge.errors import ModelError
from helpers import layouts
from helpers.calling import exit_code

pytestmark = pytest.mark.slow

Call = Callable[..., int]
HEADS = ("base", "personal", "mfcc", "mfcc-scaled", "deep", "deep-personal", "wav2vec", "modern-personal")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with CREMA-D and ESD."""
    folder = tmp_path_factory.mktemp("corpora")
    layouts.crema_d(folder / "crema-d")
    layouts.esd(folder / "esd")
    return folder


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-calibrate`` inside the test's process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-calibrate", *arguments, "--threads", 1)


@pytest.fixture
def recipe(recipe_file: Callable[..., Path]) -> Callable[[str], Path]:
    """Write a recipe for one of the corpora."""

    def write(name: str) -> Path:
        folder = "crema-d/AudioWAV" if name == "crema-d" else name
        corpus = {"name": name, "folder": folder, "licence": "ODbL 1.0"}
        return recipe_file(corpora=[corpus], splits={"file": "", "fractions": [0.5, 0.25, 0.25]})

    return write


@pytest.mark.parametrize("head", HEADS)
def test_on_speakers_who_are_trained_on(
    head: str,
    call: Call,
    recipe: Callable[[str], Path],
    corpora: Path,
    encoders: dict[str, Path],
    tmp_path: Path,
) -> None:
    corpus, encoder = ("esd", "wav2vec2") if head == "wav2vec" else ("crema-d", "hubert")
    where = ("--data", corpora, "--encoder", encoders[encoder], "--out", "report")
    assert call("folds", recipe(corpus), *where, "--split", "random", "--head", head) == 0
    report = json.loads((tmp_path / "report" / "folds.json").read_text())
    (fold,) = report["folds"]
    assert fold["shared"] == 4
    assert f"with head {head} on {corpus}" in report["protocol"]
    told = "personal" in head or "mfcc" in head
    assert ("strangers are told as the mean of all" in report["protocol"]) == told


@pytest.mark.parametrize("head", ["base", "personal", "mfcc", "wav2vec"])
def test_a_run_keeps_its_head(
    head: str,
    call: Call,
    recipe: Callable[[str], Path],
    corpora: Path,
    encoders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = recipe("esd" if head == "wav2vec" else "crema-d")
    encoder = encoders["wav2vec2" if head == "wav2vec" else "hubert"]
    finetune = ("--finetune", 1) if head == "wav2vec" else ()
    assert call("train", path, "--data", corpora, "--encoder", encoder, "--head", head, *finetune) == 0
    run = tmp_path / "runs" / f"tiny-{head}"
    assert (run / "training.png").is_file()
    assert call("evaluate", run, "--data", corpora, "--json") == 0
    protocol = json.loads(capsys.readouterr().out.splitlines()[-1])["protocol"]
    told = head in ("personal", "mfcc")
    assert ("strangers are told as the mean of all" in protocol) == told
    if told:
        command = ("affectd-export", "bundle", run, "--data", corpora, "--out", tmp_path / "bundle", "--threads", 1)
        assert exit_code(export.cli.app.main, monkeypatch, *command) == ModelError.exit_code
        stderr = capsys.readouterr().err
        assert "the head is told who speaks" in stderr
        assert not (tmp_path / "bundle").exists()


def test_the_sweep_goes_on_where_it_was_and_chooses_by_validation(
    call: Call,
    recipe: Callable[[str], Path],
    corpora: Path,
    encoders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command: list[Any] = ["sweep", recipe("crema-d"), "--data", corpora, "--encoder", encoders["hubert"]]
    command += ["--head", "base", "--split", "random", "--seeds", 2, "--out", "sweep", "--rate", 1e-3, "--batch", 6]
    assert call(*command) == 0
    kept = sorted((tmp_path / "sweep" / "trainings").iterdir())
    stamps = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 2
    assert not (tmp_path / "sweep" / "sweep.png").exists(), "one cell is no grid"
    assert call(*command, "--rate", 1e-2, "--json", "--force") == 0
    described = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert described == json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [path.stat().st_mtime_ns for path in kept] == stamps, "what was trained is not trained again"
    assert [(row["learning_rate"], row["batch"]) for row in described["grid"]] == [(1e-3, 6), (1e-2, 6)]
    assert len(described["trainings"]) == 4
    best = max(described["grid"], key=lambda row: row["validation_ua"])
    assert [row for row in described["grid"] if row["chosen"]] == [best]
    curve = [epoch["validation_ua"] for epoch in described["trainings"][0]["curve"]]
    assert len(curve) == 20
    first, second = (np.array([e["validation_ua"] for e in each["curve"]])[-10:] for each in described["trainings"][:2])
    assert described["grid"][0]["validation_ua"] == pytest.approx((first.mean() + second.mean()) / 2, abs=1e-3)
    assert described["grid"][0]["best_validation_ua"] == pytest.approx((first.max() + second.max()) / 2, abs=1e-3)
    assert {training["speaker_share"] for training in described["trainings"]} == {0.0}, "nobody told it"
    assert all(0 <= training["idle_units"] < 1 for training in described["trainings"])
    for name in ("sweep.png", "curves.png", "sweep.md"):
        assert (tmp_path / "sweep" / name).is_file()
    assert call(*command[:-4], "--split", "speaker", "--seeds", 1, "--force") == 0
    assert "shares no speaker" in (tmp_path / "sweep" / "sweep.md").read_text()


def test_mistakes_are_told_in_one_line(
    call: Call,
    recipe: Callable[[str], Path],
    corpora: Path,
    encoders: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for message, options in (
        ("--split 'randm' is not one of speaker, random (did you mean 'random'?)", ("--split", "randm")),
        ("--head 'personl': no such file here, and affectd has base, ", ("--head", "personl")),
        ("--corpus crema: the recipe has crema-d (did you mean 'crema-d'?)", ("--corpus", "crema")),
        ("normalises over the batch", ("--head", "base", "--batch", 1)),
    ):
        where = ("--data", corpora, "--encoder", encoders["hubert"], "--out", "sweep")
        assert call("sweep", recipe("crema-d"), *where, *options) == 2, options
        stderr = capsys.readouterr().err
        assert message in stderr
        assert stderr.count("\n") == 1, stderr


def test_strangers_are_told_in_every_way_and_enrolled(
    call: Call, recipe: Callable[[str], Path], corpora: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    where = ("--data", corpora, "--encoder", encoders["hubert"], "--out", "report")
    assert call("strangers", recipe("crema-d"), *where, "--folds", 2) == 0
    report = json.loads((tmp_path / "report" / "strangers.json").read_text())
    assert set(report["ua"]["crema-d"]) == {
        "untold", "untold, enrolled", "learned, mean", "learned, nearest", "MFCC, mean", "MFCC, own"
    }  # fmt: skip
    assert "2 folds over the 3 training and validation speakers" in report["protocol"]
    assert "| learned, nearest |" in (tmp_path / "report" / "strangers.md").read_text()


def test_the_best_weights_come_with_their_running_statistics(
    recipe_of: Callable[..., Recipe], data: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    schedule = {"epochs": 10, "learning_rate": 0.3, "decay": "none", "stop_after": 3}
    recipe = recipe_of(head={"kind": "stack", "hidden": [8], "dim": 4}, schedule=schedule)
    parts = read_parts(recipe, data)
    run = build_run(recipe, str(encoders["whisper"]))
    train_run(run, parts, tmp_path / "run", tmp_path / "cache")
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] > min(losses), "there is something to go back to"
    part, features = run.source(tmp_path / "cache").clean(parts["validation"], spoken_only=True)
    assert validate(run.classifier, features, part)[0] == pytest.approx(min(losses), rel=1e-3)


def test_mean_mfcc_are_kept_and_unreadable_clips_left_out(data: Path, tmp_path: Path) -> None:
    clip = next((data / "ravdess").rglob("*.wav"))
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    found = clip_mfcc([clip, broken], tmp_path / "cache", 13)
    assert list(found) == [clip]
    assert found[clip].shape == (13,)
    assert np.isfinite(found[clip]).all()
    (table,) = (tmp_path / "cache").iterdir()
    np.savez(table, mfcc=np.load(table)["mfcc"] + 1)
    again = clip_mfcc([clip, broken], tmp_path / "cache", 13)
    np.testing.assert_array_equal(again[clip], found[clip] + 1)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert clip_mfcc([clip], tmp_path / "cache", 13)[clip] == pytest.approx(found[clip])


def test_a_speakers_vector_is_the_mean_of_their_clips(data: Path, recipe_of: Callable[..., Any]) -> None:
    part = read_parts(recipe_of(), data)["train"]
    clips = {path: np.full(2, row, np.float32) for row, path in enumerate(part.paths) if row}
    means = speaker_mfcc(part, clips)
    rows = [row for row, speaker in enumerate(part.speakers) if speaker == part.speakers[0] and row]
    np.testing.assert_allclose(means[str(part.speakers[0])], np.mean(rows))
    assert set(means) == set(part.speakers)
