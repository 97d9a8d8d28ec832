"""Fixtures of the export side: a run trained on the tiny corpora, and the bundle that the command line makes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from calibrate.dataset import Part, read_parts
from calibrate.recipe import Recipe
from calibrate.run import Run, build_run, load_run
from calibrate.speakers.verifier import SpeakerModel
from calibrate.train import train_run
from edge.bundle import ENCODER_NAME
from edge.speaker import VoiceCalibration
from export.bundle import write as export_bundle_module
from export.graph.encoder_graph import EmbeddingGraph
from helpers.models import alone, data, encoders, recipe_file, recipe_of
from helpers.once import made_once
from helpers.tiny import SPEAKER, tiny_speaker_encoder

__all__ = ["alone", "data", "encoders", "recipe_file", "recipe_of"]

ROOT = Path(__file__).resolve().parents[2]
HASH_SEED = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
"""Another order of sets than in the process of the tests."""


@dataclass(frozen=True)
class Exported:
    """What ``affectd-export bundle`` did in a process of its own."""

    folder: Path
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def run_folder(
    data: Path,
    recipe_of: Callable[..., Recipe],
    encoders: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A trained run: tiny random Whisper, linear head, buckets of 1 to 3 s."""
    recipe = recipe_of(
        encoder={"layers": 1, "pooled": [0, 1], "max_s": 3.0},
        schedule={"epochs": 8},
        sounds={"folder": "sounds", "origin": "twelve hisses, CC0"},
    )

    def trained(folder: Path) -> None:
        run = build_run(recipe, str(encoders["whisper"]))
        train_run(run, read_parts(recipe, data), folder / "run", tmp_path_factory.mktemp("cache"))

    return made_once(tmp_path_factory, "trained", trained) / "run"


@pytest.fixture(scope="session")
def speaker_model(tmp_path_factory: pytest.TempPathFactory) -> SpeakerModel:
    """The tiny bundle's speaker encoder, which hears brightness."""
    path = tmp_path_factory.mktemp("speaker") / "brightness.onnx"
    onnx.save(tiny_speaker_encoder(), path)
    return SpeakerModel.of_onnx(VoiceCalibration(np.array(SPEAKER["calibration"])), path)


@pytest.fixture
def run(run_folder: Path) -> Run:
    return load_run(run_folder)


@pytest.fixture
def test_part(run: Run, data: Path) -> Part:
    """The tiny corpora's test speakers."""
    return read_parts(run.recipe, data)["test"]


@pytest.fixture(scope="session")
def exported(
    run_folder: Path, data: Path, speaker_model: SpeakerModel, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """The run as a float bundle; tracing a graph takes seconds, so most tests share this one."""

    def export(scratch: Path) -> None:
        speaker_model.save(scratch / "speakers")
        options = ["--data", data, "--out", scratch / "bundles" / "tiny", "--precision", "fp32", "--version", "7"]
        options += ["--speakers", scratch / "speakers", "--cache", scratch / "cache", "--threads", 1]
        process = subprocess.run(
            [sys.executable, "-m", "export", "bundle", str(run_folder), *map(str, options)],
            cwd=ROOT,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "160", "PYTHONHASHSEED": HASH_SEED},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        (scratch / "stdout").write_text(process.stdout)
        (scratch / "stderr").write_text(process.stderr)

    scratch = made_once(tmp_path_factory, "exported", export)
    return Exported(scratch / "bundles" / "tiny", *((scratch / name).read_text() for name in ("stdout", "stderr")))


@pytest.fixture
def traced(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``export_bundle`` take the graph of ``exported`` instead of tracing the same run again."""

    def copy_onnx(graph: EmbeddingGraph, path: Path, description: str, longest_s: float) -> onnx.ModelProto:
        shutil.copy(exported.folder / ENCODER_NAME, path)
        return onnx.load(path)

    monkeypatch.setattr(export_bundle_module, "write_onnx", copy_onnx)
