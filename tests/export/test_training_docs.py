"""The commands of docs/training.md do what it says, in order, as a reader would type them, on tiny corpora."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tomllib

import calibrate.cli.commands
import export.cli.commands
from calibrate.cli.app import main as calibrate_main
from edge.bundle import Bundle
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings
from export.cli.app import main as export_main
from helpers.calling import exit_code
from helpers.layouts import librispeech
from helpers.models import EMOTIONS, RAVDESS_CODES, emotional, hiss, merged, toml, write_clip, write_table
from helpers.tiny import tiny_speaker_encoder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
PROGRAMS = {"affectd-calibrate": calibrate_main, "affectd-export": export_main}
COMMANDS = [re.split(r"\s{2,}#", line)[0] for line in re.findall(r"^    (affectd-\S+ .*)$", TEXT, re.MULTILINE)]
CHEAPER = {
    "generalise": "--quick --folds 2",
    "crossvalidate": "--folds 2",
    "verification": "--draws 1 --encoder speaker.onnx",
    "bundle": "--precision fp32",
    "thin": "--stem 12 --hidden 24 --clips 20",
}
"""What a command is told beside: less of the same, a tiny speaker encoder, and no int8, which is for more channels.
No command needs a GPU, real corpora or hours, so that none is left out."""
STUDENT = {"layers": 1, "width": 16, "heads": 2, "hidden": 24, "stem": 12}
TINY: dict[str, dict[str, Any]] = {
    "default-train": {"head": {"dim": 8}, "augmentation": {"copies": 1}, "encoder": {"layers": 1, "pooled": [1]}},
    "nano-train": {"head": {"dim": 8}, "augmentation": {"copies": 1}, "encoder": {"max_s": 1.0}},
    "distil-nano": {"views": 1, "epochs": 1, "student": STUDENT, "rank": 4},
}
"""What is smaller in the recipes."""
UNREAD = ("banglaser", "nemo")
"""Corpora of the recipes in whose place is one that a plain CSV lists."""
OFFICE = {"name": "csv", "folder": "team", "licence": "own", "licence_verified": False}
EMOVO_CODES = {"neutral": "neu", "happy": "gio", "angry": "rab"}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoders: dict[str, Path]) -> Callable[[str], int]:
    """Run a command line inside the test's process, in a reader's folder with ``DATA``, ``configs`` and encoders."""
    for name in ("whisper-base", "whisper-tiny.en"):  # in the hub's place
        shutil.copytree(encoders["whisper"], tmp_path / "openai" / name)
    write_corpora(tmp_path / "DATA")
    librispeech(tmp_path / "more" / "librispeech")
    onnx.save(tiny_speaker_encoder(), tmp_path / "speaker.onnx")
    for seed in range(12):
        write_clip(tmp_path / "more" / "esc10" / f"hiss{seed}.wav", hiss(seed))
    (tmp_path / "configs").mkdir()
    for name, changes in TINY.items():
        (tmp_path / "configs" / f"{name}.toml").write_text(shrunk(ROOT / "configs" / f"{name}.toml", changes))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(command: str) -> int:
        program, verb, *words = shlex.split(f"{command} {CHEAPER.get(command.split()[1], '')}")
        threads = () if verb == "init" else ("--threads", 1)
        return exit_code(PROGRAMS[program], monkeypatch, program, verb, *words, *threads)

    return call


def write_corpora(data: Path) -> None:
    """Write five speakers of RAVDESS, two of a CSV, and two of EMOVO with clips enough for a household."""
    rows = []
    for emotion in EMOTIONS:
        for actor in range(1, 6):
            for take in (1, 2):
                name = f"03-01-{RAVDESS_CODES[emotion]}-01-01-0{take}-0{actor}.wav"
                write_clip(data / "ravdess" / f"Actor_0{actor}" / name, emotional(emotion, f"{actor}{take}"))
        for person in ("anna", "ben"):
            for take in (1, 2):
                rows.append((f"{person}-{emotion}-{take}.flac", person, emotion))
                write_clip(data / "team" / rows[-1][0], emotional(emotion, f"{person}{take}"))
        for speaker in ("f1", "m1"):
            for take in (1, 2, 3, 4):
                name = f"{EMOVO_CODES[emotion]}-{speaker}-b{take}.wav"
                write_clip(data / "emovo" / speaker / name, emotional(emotion, f"{speaker}{take}"))
    write_table(data / "team" / "office.csv", ("path", "speaker", "emotion"), rows)


def shrunk(path: Path, changes: dict[str, Any]) -> str:
    """Return a recipe of the repository for tiny encoders and corpora, otherwise as it is."""
    recipe = merged(tomllib.loads(path.read_text(encoding="utf-8")), changes)
    if "corpora" in recipe:
        recipe["corpora"] = [corpus for corpus in recipe["corpora"] if corpus["name"] not in UNREAD] + [OFFICE]
    return toml(recipe)


def test_every_command_of_the_text_is_found() -> None:
    assert len(COMMANDS) >= 10
    assert {command.split()[0] for command in COMMANDS} == set(PROGRAMS)
    apps = (calibrate.cli.commands, export.cli.commands)
    known = {command.name or "" for module in apps for command in module.app.registered_commands}
    known |= {group.name or "" for module in apps for group in module.app.registered_groups}
    named = re.findall(r"`([a-z][a-z-]+)[^`]*`", TEXT.partition("To know a model:")[2].partition("`--head")[0])
    assert len(named) >= 12
    assert set(named) <= known


def test_the_commands_work_in_the_order_of_the_text(
    call: Callable[[str], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_own(tmp_path / "my-corpus", call)
    for command in COMMANDS:
        capsys.readouterr()
        assert call(command) == 0, (command, capsys.readouterr().err)
        written = re.search(r"--out (\S+)", command) or re.search(r"train configs/(?P<name>\w+)-train", command)
        if written:
            folder = Path("runs", written["name"]) if written.re.groupindex else Path(written[1])
            assert any(folder.iterdir()), command
    answers_to_short_inputs(Path("bundles", "nano"))


def answers_to_short_inputs(folder: Path) -> None:
    """Assert that a bundle of inputs of one second was exported with those, and takes any."""
    recognizer = Recognizer(Bundle.load(folder), EncoderSettings(provider="cpu", threads=1))
    recognizer.load()
    assert recognizer.bundle.manifest.buckets_s == (1.0,)
    noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) / 10
    answers = recognizer.probabilities([noise[:samples] for samples in (900, 4_800, 48_000)])
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-4)


def train_own(corpus: Path, call: Callable[[str], int]) -> None:
    """Make ``runs/my-corpus``, as the commands of README do, of which there are tests."""
    rows = []
    for person in range(6):
        for emotion in EMOTIONS:
            for take in range(6):
                rows.append((f"{len(rows)}.wav", emotion, f"p{person}"))
                write_clip(corpus / rows[-1][0], emotional(emotion, f"{person}{take}"))
    write_table(corpus / "labels.csv", ("path", "emotion", "speaker"), rows)
    assert call("affectd-calibrate init my-corpus/") == 0
    assert call("affectd-calibrate train my-corpus.toml --data .") == 0
