"""How much of what is no speech is reported as an emotion, and how much speech is doubted."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibrate.cli.app import main
from edge.bundle import HEAD_NAME, Bundle
from edge.head import SpeechCheck
from helpers.calling import exit_code
from helpers.models import write_clip, write_table
from helpers.signals import silence, speech_like
from helpers.tiny import tiny_bundle, write_manifest

LOUD, QUIET = 3.0, 0.3


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The tiny bundle, which takes what is loud for no speech: its embedding begins with the mean of |x|."""
    folder = tiny_bundle(tmp_path / "bundle")
    head = Bundle.load(folder).head
    replace(head, speech=SpeechCheck(np.array([-1e3, 0, 0], np.float32), 100.0)).save(folder / HEAD_NAME)
    write_manifest(folder)
    return folder


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for seed in range(3):
        write_clip(tmp_path / "sounds" / "dog" / f"{seed}.wav", LOUD * speech_like(1.5, seed))
        write_clip(tmp_path / "sounds" / "rain" / f"{seed}.wav", silence(1.5, seed=seed))
    return tmp_path / "sounds"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-calibrate", "sounds", *arguments, "--threads", 1)


def test_sounds_are_counted_by_kind_and_speech_by_corpus(
    bundle: Path, sounds: Path, call: Callable[..., int], recipe_file: Callable[..., Path], tmp_path: Path
) -> None:
    rows = []
    for name in ("anna", "ben"):
        for seed, level in enumerate((QUIET, QUIET, LOUD)):
            path = f"{name}{seed}.wav"
            write_clip(tmp_path / "data" / "team" / path, level * speech_like(1.5, seed))
            rows.append((path, name, "neutral"))
    write_table(tmp_path / "data" / "team" / "office.csv", ("path", "speaker", "emotion"), rows)
    splits = {"file": "", "fractions": [0.0, 0.0, 1.0]}
    recipe = recipe_file(corpora=[{"name": "csv", "folder": "team", "licence": "own"}], splits=splits)
    assert call(bundle, sounds, "--data", tmp_path / "data", "--recipe", recipe, "--out", "out") == 0
    report = json.loads((tmp_path / "out" / "sounds.json").read_text())
    assert report["sounds"]["dog"] == {"recordings": 3, "heard": 1, "flagged": 1, "sure": 0}
    assert report["sounds"]["rain"]["heard"] == report["sounds"]["rain"]["sure"] == 0
    assert report["all"]["recordings"] == 6
    assert report["all"]["heard"] == 0.5
    assert report["speech"]["office"]["recordings"] == 6
    assert report["speech"]["office"]["flagged"] == pytest.approx(1 / 3, abs=1e-3)
    assert set(report["speech"]) == {"office", "office, pink noise 10 dB", "office, pink noise 0 dB"}
    assert report["sounds"]["rain"]["flagged"] is None
    assert "| rain | 3 | 0.000 | - | 0.000 |" in (tmp_path / "out" / "sounds.md").read_text()


def test_what_cannot_be_measured_is_said(
    bundle: Path, sounds: Path, bundle_folder: Path, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(bundle_folder, sounds) == 3
    assert "takes whatever it hears for speech: its recipe had no [sounds]" in capsys.readouterr().err
    assert call(bundle, sounds / "cat") == 2
    assert "no such file or folder" in capsys.readouterr().err
