"""Pre-training and its comparison through the real commands, on tiny corpora in their official layouts."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calibrate.cli.app import main
from calibrate.dataset import read_parts
from calibrate.encoders.base import SpeechEncoder
from calibrate.encoders.pretrained import load_encoder
from calibrate.experiments.personalisation.told import ToldEncoder, told_features, untold_features
from calibrate.pretraining.adapted import Adapted
from calibrate.recipe import Recipe
from helpers import layouts
from helpers.calling import exit_code
from helpers.launched import launched
from helpers.models import emotional, write_clip

pytestmark = pytest.mark.slow

Call = Callable[..., int]
Write = Callable[..., Path]

CREMA_D = {"name": "crema-d", "folder": "crema-d/AudioWAV", "licence": "ODbL"}
MSP_PODCAST = {"name": "msp-podcast", "folder": "msp-podcast", "licence": "academic"}
ROUNDS = [{"targets": "mfcc", "clusters": 8, "epochs": 1}, {"targets": "middle", "clusters": 8, "epochs": 1}]
TINY: dict[str, Any] = {
    "corpora": [CREMA_D, MSP_PODCAST],
    "head": {"kind": "logistic"},
    "augmentation": {"copies": 0},
    "splits": {"file": "", "fractions": [1.0, 0.0, 0.0]},
    "pretraining": {"rounds": ROUNDS, "batch_s": 4.0, "held_out": 0.2},
}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-calibrate`` inside the test's process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-calibrate", *arguments, "--threads", 1)


@pytest.fixture(scope="module")
def corpora(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the data folder, with corpora in their official layouts; every clip is as long as speech is."""
    folder = shutil.copytree(data, tmp_path_factory.mktemp("corpora") / "data")
    layouts.crema_d(folder / "crema-d")
    layouts.msp_podcast(folder / "msp-podcast")
    for corpus in ("crema-d", "msp-podcast"):
        for path in sorted((folder / corpus).rglob("*.wav")):
            emotion = {"NEU": "neutral", "HAP": "happy"}.get(path.stem.rpartition("_")[0][-3:], "angry")
            write_clip(path, np.tile(emotional(emotion, path.stem), 3))
            if corpus == "crema-d":
                another = path.with_name(path.name.replace("IEO", "IOM").replace("TIE", "IWW"))
                write_clip(another, np.tile(emotional(emotion, another.stem), 3))
    return folder


@pytest.fixture
def where(corpora: Path, encoders: dict[str, Path]) -> tuple[object, ...]:
    return ("--data", corpora, "--encoder", encoders["whisper"])


def test_an_encoder_is_pretrained_and_trained_on(
    call: Call, recipe_file: Write, where: tuple[object, ...], corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_file(**TINY)
    assert call("papt", recipe, *where, "--out", "papt") == 0
    assert "encoder written to papt/encoder" in capsys.readouterr().out
    report = json.loads(Path("papt/pretraining.json").read_text())
    assert (report["speakers"], report["place"], report["encoder"]) == (10, "last", "whisper (PAPT, last)")
    assert [each["targets"] for each in report["rounds"]] == ["mfcc", "middle"]
    assert all(len(each["log"]) == 4 and each["quality"]["used"] > 0 for each in report["rounds"])
    assert Path("papt/round-1.png").stat().st_size > 1_000
    adapted = Adapted.load(Path("papt"), 2)
    assert len(adapted.names) == len(adapted.embeddings) == len(adapted.voices) == 10
    assert call("papt", recipe, *where, "--out", "papt") == 2
    assert "papt holds papt.json already" in capsys.readouterr().err
    options = ("--data", corpora, "--encoder", "papt/encoder", "--out", "run")
    assert call("train", recipe, *options) == 0
    described = json.loads(Path("run/run.json").read_text())
    assert described["encoder_name"] == "papt/encoder"


def test_killed_and_resumed_it_ends_the_same(
    call: Call, recipe_file: Write, where: tuple[object, ...], tmp_path: Path
) -> None:
    recipe = recipe_file(**TINY)
    assert call("papt", recipe, *where, "--out", "whole") == 0
    shutil.copytree("whole/round-1", "killed/round-1")  # as if it had died before the second round
    assert call("papt", recipe, *where, "--out", "killed", "--resume") == 0
    for name in ("encoder/model.safetensors", "speakers.safetensors", "round-2/log.csv"):
        assert Path("whole", name).read_bytes() == Path("killed", name).read_bytes()


def test_two_processes_share_the_work(
    recipe_file: Write, where: tuple[object, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rounds = [{"targets": "mfcc", "clusters": 8, "epochs": 2}]
    recipe = recipe_file(**TINY | {"pretraining": TINY["pretraining"] | {"rounds": rounds}})
    command = ["affectd-calibrate", "papt", recipe, *where, "--out", tmp_path / "both", "--cache", tmp_path / "cache"]
    assert launched(main, [*command, "--threads", 1], 2) == [0, 0]
    assert capfd.readouterr().out.count("encoder written to") == 1, "one process reports"
    log = list(csv.DictReader((tmp_path / "both" / "round-1" / "log.csv").read_text().splitlines()))
    assert float(log[-1]["validation_loss"]) < float(log[0]["validation_loss"])
    assert len(Adapted.load(tmp_path / "both", 2).names) == 10


def test_a_hubert_learns_from_nothing(call: Call, recipe_file: Write, corpora: Path) -> None:
    shape = {"layers": 2, "width": 32, "heads": 2, "hidden": 32, "channels": 8}
    pretraining = TINY["pretraining"] | {"scratch": shape, "speakers": "none"}
    recipe = recipe_file(**TINY | {"pretraining": pretraining})
    assert call("papt", recipe, "--data", corpora, "--out", "hubert") == 0
    assert json.loads(Path("hubert/pretraining.json").read_text())["encoder"] == "HuBERT from scratch (TAPT)"
    assert load_encoder("hubert/encoder", 2).width == 32
    assert len(Adapted.load(Path("hubert"), 2).embeddings) == 0


def test_what_is_wrong_is_said(
    call: Call, recipe_file: Write, where: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("papt", recipe_file(**TINY), *where, "--speakers", "lst") == 2
    assert "--speakers 'lst' is not one of last, first, prefix, none (did you mean 'last'?)" in capsys.readouterr().err
    wrong = TINY | {"pretraining": {"rounds": [{"targets": "mfc"}]}}
    assert call("papt", recipe_file(**wrong), *where) == 2
    assert "pretraining.rounds.0.targets" in capsys.readouterr().err
    deep = TINY | {"pretraining": {"rounds": [{"targets": 9}]}}
    assert call("papt", recipe_file(**deep), *where) != 0
    assert "9" in capsys.readouterr().err


def test_ways_to_make_a_model_someones_are_compared(
    call: Call, recipe_file: Write, where: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_file(**TINY | {"corpora": [CREMA_D, MSP_PODCAST]})
    options = ("--seeds", 1, "--epochs", 1, "--place", "last", "--place", "prefix", "--out", "report")
    assert call("personalise", recipe, *where, *options) == 0
    report = json.loads(Path("report/personalisation.json").read_text())
    rows = list(csv.DictReader(Path("report/personalisation.csv").read_text().splitlines()))
    encoders = {row["encoder"] for row in rows}
    assert {"vanilla", "TAPT", "PAPT last, not told", "PAPT last, similar", "PAPT prefix, fitted"} <= encoders
    assert {row["offset"] for row in rows} == {"none", "room", "person", "person, room"}
    assert all(0 <= float(row["value"]) <= 1 for row in rows if row["measure"] == "ua")
    assert {"TAPT", "PAPT last, mean", "PAPT last, similar", "PAPT last, fitted"} <= set(report["masked_loss"])
    assert report["gap"]
    text = Path("report/personalisation.md").read_text()
    assert "Points of UA over vanilla" in text
    assert "The personalisation gap" in text


@pytest.mark.parametrize("place", ["last", "first"])
def test_telling_an_encoder_is_the_same_whichever_way_it_is_computed(
    place: Any, recipe_of: Callable[..., Recipe], corpora: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_of(**TINY)
    part = read_parts(recipe, corpora)["train"]
    encoder: SpeechEncoder = load_encoder(str(encoders["whisper"]), 2)
    rng = np.random.default_rng(0)
    speakers = sorted(set(part.speakers.tolist()))
    embeddings = {name: rng.normal(size=encoder.width).astype(np.float32) for name in speakers}
    untold = untold_features(encoder, part, recipe, tmp_path)
    found = told_features(encoder, place, embeddings, part, untold, recipe, tmp_path)
    mine = torch.from_numpy(part.speakers == speakers[0])
    alone = ToldEncoder(encoder, place, embeddings[speakers[0]])
    expected = untold_features(alone, part.select(mine.numpy()), recipe, tmp_path)
    assert torch.allclose(found[mine], expected, atol=5e-3)
    assert not torch.allclose(found, untold, atol=5e-3)
