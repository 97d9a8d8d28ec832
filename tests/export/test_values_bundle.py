"""Values from corpora in their official layouts, through every command from train to run."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from calibrate.cli.app import main as calibrate_main
from calibrate.run import load_run
from edge.bundle import HEAD_NAME, MANIFEST_NAME, Bundle, sha256_of
from edge.cli.app import main as edge_main
from edge.values import DERIVED
from export.cli.app import main as export_main
from helpers import layouts
from helpers.calling import exit_code
from helpers.models import RECIPE, merged, toml

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "conversation.flac"
ANNOTATED = [{"name": name, "range": [-1, 1]} for name in ("arousal", "dominance")]
VALUES = [
    *ANNOTATED,
    {"name": "valence", "range": [0, 10], "origin": "circumplex"},
    {"name": "intensity", "range": [0, 1]},
]
CHANGES: dict[str, Any] = {
    "values": VALUES,
    "corpora": [
        {"name": "msp-podcast", "folder": "msp", "licence": "academic"},
        {"name": "crema-d", "folder": "crema/AudioWAV", "licence": "ODbL"},
    ],
    "splits": {"file": "", "fractions": [0.5, 0.0, 0.5]},
    "encoder": {"layers": 1, "pooled": [0, 1], "max_s": 3.0},
    "head": {"kind": "logistic", "dim": 12},
}
Call = Callable[..., int]
PROGRAMS = {"affectd": edge_main, "affectd-calibrate": calibrate_main, "affectd-export": export_main}


@dataclass(frozen=True)
class Made:
    """What the commands made of two corpora."""

    data: Path
    recipe: Path
    run: Path
    bundle: Path
    call: Call


@pytest.fixture(scope="module")
def made(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Train on MSP-Podcast and CREMA-D, a few clips each in their official layouts, and export."""
    folder = tmp_path_factory.mktemp("values")
    layouts.msp_podcast(folder / "msp")
    layouts.crema_d(folder / "crema")
    made = Made(folder, folder / "recipe.toml", folder / "run", folder / "bundle", caller(tmp_path_factory))
    made.recipe.write_text(toml(merged(RECIPE, CHANGES)))
    shared = ("--data", folder, "--encoder", encoders["whisper"], "--cache", folder / "cache", "--threads", 1)
    assert made.call("affectd-calibrate", "train", made.recipe, "--out", made.run, *shared) == 0
    bundle = ("bundle", made.run, "--out", made.bundle, "--precision", "fp32")
    assert made.call("affectd-export", *bundle, *shared) == 0
    return made


def caller(tmp_path_factory: pytest.TempPathFactory) -> Call:
    def call(program: str, *arguments: object) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path_factory.mktemp("empty"))
            patch.setenv("COLUMNS", "160")
            return exit_code(PROGRAMS[program], patch, program, *arguments)

    return call


def test_the_run_keeps_its_read_out(made: Made, encoders: dict[str, Path]) -> None:
    run = load_run(made.run, str(encoders["whisper"]))
    assert run.readout
    assert run.readout.names == ("arousal", "dominance", "valence", "intensity")
    assert run.readout.weight.shape == (4, 12)


def test_the_manifest_the_population_and_the_card_name_the_values(made: Made) -> None:
    bundle = Bundle.load(made.bundle)
    assert [str(value) for value in bundle.manifest.values][2:] == ["valence 0 to 10", "intensity 0 to 1"]
    assert [value.origin for value in bundle.manifest.values] == ["annotated", "annotated", DERIVED, "annotated"]
    speakers = len(bundle.population.offsets)
    assert bundle.population.value_means is not None
    assert bundle.population.value_deviations is not None
    assert bundle.population.value_means.shape == bundle.population.value_deviations.shape == (speakers, 4)
    figures = bundle.manifest.metrics["values"]
    assert set(figures) == {"msp-podcast", "crema-d", "all corpora"}
    assert set(figures["crema-d"]) == {"valence", "intensity"}
    card = (made.bundle / "MODEL_CARD.md").read_text()
    assert (
        "3 emotions (neutral, happy, angry) and 4 values (arousal -1 to 1, dominance -1 to 1, valence 0 to 10" in card
    )
    assert f"| valence | 0 | 10 | {DERIVED} |" in card
    assert "**valence: a demonstration.**" in card
    assert "| msp-podcast | arousal | 18 | 3 | 0." in card


def test_what_can_be_heard_is_estimated(made: Made) -> None:
    figures = Bundle.load(made.bundle).manifest.metrics["values"]
    assert figures["msp-podcast"]["arousal"]["ccc"] > 0.7
    assert figures["crema-d"]["intensity"]["ccc"] > 0.5
    for corpus in figures.values():
        for row in corpus.values():
            assert row["ccc"] <= row["r"] + 1e-6


@pytest.mark.parametrize("kind", ["run", "bundle"])
def test_runs_and_bundles_are_evaluated_alike(
    kind: str, made: Made, encoders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = (made.bundle, "--recipe", made.recipe) if kind == "bundle" else (made.run, "--encoder", encoders["whisper"])
    options = ("--data", made.data, "--out", tmp_path, "--cache", made.data / "cache", "--threads", 1)
    assert made.call("affectd-calibrate", "evaluate", *model, *options) == 0
    printed = capsys.readouterr().out
    assert "O-CCC" in printed
    assert "valence: derived from labels (Russell's circumplex), a demonstration." in printed
    report = (tmp_path / "report.md").read_text()
    assert "| corpus | value | clips | speakers | O-CCC | 95 % | A-CCC | 95 % | r | 95 % |" in report
    published = Bundle.load(made.bundle).manifest.metrics["values"]
    for corpus, rows in json.loads((tmp_path / "metrics.json").read_text())["values"].items():
        for name, row in rows.items():
            assert row["ccc"] == pytest.approx(published[corpus][name]["ccc"], abs=0.01)


def test_the_bundle_passes_its_check(made: Made, encoders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data", made.data, "--run", made.run, "--encoder", encoders["whisper"], "--cache", made.data / "cache")
    assert made.call("affectd-export", "check", made.bundle, *data, "--threads", 1) == 0
    printed = capsys.readouterr().out
    for row in ("CCC of arousal on msp-podcast", "CCC of intensity on crema-d", "intensity moves by, share of its"):
        assert row in printed


def test_a_check_names_what_differs(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in made.bundle.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    tensors = load_file(damaged / HEAD_NAME)
    save_file(tensors | {"values_bias": np.zeros(3, np.float32)}, damaged / HEAD_NAME)
    manifest = json.loads((damaged / MANIFEST_NAME).read_text())
    record = {"sha256": sha256_of(damaged / HEAD_NAME), "bytes": (damaged / HEAD_NAME).stat().st_size}
    (damaged / MANIFEST_NAME).write_text(json.dumps(manifest | {"files": manifest["files"] | {HEAD_NAME: record}}))
    assert made.call("affectd-export", "check", damaged, "--threads", 1) == 3
    assert "values_bias of shape (3,)" in " ".join(capsys.readouterr().out.split())
    assert made.call("affectd", "analyze", "--bundle", damaged, made.data / "msp") == 3
    assert "do not fit arousal -1 to 1" in capsys.readouterr().err


def test_the_device_answers_values_with_their_range(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert made.call("affectd", "run", "--source", EXAMPLE, "--fast", "--bundle", made.bundle, "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    answers = [event for event in events if event["type"] in ("provisional", "utterance")]
    assert answers
    for event in answers:
        assert list(event["values"]) == ["arousal", "dominance", "valence", "intensity"]
        for value in event["values"].values():
            assert value["low"] <= value["value"] <= value["high"]
        assert (event["values"]["valence"]["low"], event["values"]["valence"]["high"]) == (0, 10)
    clips = sorted((made.data / "msp" / "Audios").glob("*.wav"))[:4]
    table = tmp_path / "table.csv"
    options = ("--whole-file", "--bundle", made.bundle, "--csv", table)
    assert made.call("affectd", "analyze", *clips, *options) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-5:] == ["angry", "arousal", "dominance", "valence", "intensity"]
    assert all(-1 <= float(row["arousal"]) <= 1 for row in rows)


def test_a_recipe_none_of_whose_clips_has_a_value_is_an_error(
    made: Made, encoders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ("--data", made.data, "--encoder", encoders["whisper"], "--cache", made.data / "cache", "--threads", 1)
    left = ("--without", "crema-d", "--out", tmp_path / "run")
    assert made.call("affectd-calibrate", "train", made.recipe, *left, *shared) == 2
    assert "[[values]] intensity: none of 18 clips of msp-podcast has the annotation" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["linear", "dense", "stack"])
def test_values_are_read_off_every_kind_of_head(
    kind: str, made: Made, encoders: dict[str, Path], tmp_path: Path
) -> None:
    head = {"kind": kind, "dim": 12}
    changes = {"head": head, "splits": {"fractions": [0.4, 0.3, 0.3]}, "schedule": {"epochs": 6}, "name": kind}
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(toml(merged(RECIPE, merged(CHANGES, changes))))
    shared = ("--data", made.data, "--encoder", encoders["whisper"], "--cache", made.data / "cache", "--threads", 1)
    assert made.call("affectd-calibrate", "train", recipe, "--out", tmp_path / "run", *shared) == 0
    found = json.loads((tmp_path / "run" / "validation" / "metrics.json").read_text())["values"]
    assert found["msp-podcast"]["arousal"]["r"] > 0.5
