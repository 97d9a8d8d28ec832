"""From a corpus folder to the report on who speaks, through the real command; people differ by their brightness."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from calibrate.cli.app import main
from calibrate.corpora import read_corpus
from calibrate.speakers import voice_table
from calibrate.speakers.verifier import SpeakerModel
from calibrate.speakers.voice_table import VoiceSource, cached_voices, read_voices
from edge.bundle import SPEAKER_NAME, shipped_bundles
from edge.errors import UsageError
from helpers.calling import exit_code
from helpers.signals import speech_like
from helpers.tiny import tiny_encoder, tiny_speaker_encoder

pytestmark = pytest.mark.slow

SPLITS = ("train",) * 6 + ("validation", "test")
EMOTIONS = ("neutral", "happy", "angry")
TAKES = 4

Call = Callable[..., int]


@pytest.fixture(scope="module")
def choir(tmp_path_factory: pytest.TempPathFactory, clip: Callable[..., Path]) -> Path:
    """A data folder with eight people of 12 clips of 0.6 s each."""
    folder = tmp_path_factory.mktemp("choir")
    rows = ["path,speaker,emotion,gender"]
    for voice, split in enumerate(SPLITS):
        for emotion in EMOTIONS:
            for take in range(TAKES):
                name = f"{voice}-{emotion}-{take}.wav"
                waveform = np.convolve(speech_like(0.6, 8 * take + voice), np.ones(1 + voice), "same")
                clip(folder / "choir" / name, (0.1 * waveform / waveform.std()).clip(-1, 1).astype(np.float32))
                rows.append(f"{name},voice{voice}-{split},{emotion},{'fm'[voice % 2]}")
    (folder / "choir" / "choir.csv").write_text("\n".join(rows))
    (folder / "splits.csv").write_text(
        "\n".join(
            ["corpus,speaker,split", *(f"choir,voice{voice}-{split},{split}" for voice, split in enumerate(SPLITS))]
        )
    )
    return folder


@pytest.fixture(scope="module")
def brightness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "brightness.onnx"
    onnx.save(tiny_speaker_encoder(), path)
    return path


@pytest.fixture
def call(
    choir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe_file: Callable[..., Path]
) -> Callable[..., int]:
    """Run ``affectd-calibrate verification`` on the choir, in an empty folder, and return its exit code."""
    recipe = recipe_file(corpora=[{"name": "csv", "folder": "choir", "licence": "own"}])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: object) -> int:
        command = ("verification", recipe, "--data", choir, "--out", "out", "--threads", 1, *arguments)
        return exit_code(main, monkeypatch, "affectd-calibrate", *command)

    return call


def test_an_encoder_of_ones_own_is_measured_and_calibrated(
    call: Call, brightness: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--encoder", brightness, "--draws", 2) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "household of 4, conversations" in printed.out
    assert printed.out.endswith("report and verifier written to out\n")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "speaker.onnx", "verification.json", "verification.md", "verification.png", "verifier.safetensors"
    }  # fmt: skip
    model = SpeakerModel.load(tmp_path / "out")
    assert (model.dim, model.architecture) == (2, "brightness.onnx")
    report = json.loads((tmp_path / "out" / "verification.json").read_text())
    assert report["protocol"].startswith(
        "brightness.onnx, dim 2; mean of 2 seeded draws; in each, half of the speakers"
    )
    assert "(choir 8; at least five" in report["protocol"]
    figures = report["corpora"]["choir"]
    assert figures["EER"]["calibrated"] < 0.2
    assert figures["right of attributed"]["one voice, household list"] > 0.8
    text = (tmp_path / "out" / "verification.md").read_text()
    assert "| calibrated, enrolled neutral, tests lively |" in text
    assert "nan" not in text


def test_json_is_the_report(call: Call, brightness: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--encoder", brightness, "--draws", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "out" / "verification.json").read_text())


def test_the_calibration_never_sees_the_test_speakers(
    call: Call, brightness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[set[str]] = []
    fit = sys.modules["calibrate.experiments.verification.experiment"].__dict__["fit_calibration"]

    def watched(voices: Any, **options: Any) -> Any:
        fitted.append(set(voices.speaker.tolist()))
        return fit(voices, **options)

    monkeypatch.setattr("calibrate.experiments.verification.experiment.fit_calibration", watched)
    assert call("--encoder", brightness, "--draws", 1) == 0
    (speakers,) = fitted
    assert len(speakers) == 7
    assert not any("test" in speaker for speaker in speakers)


def test_without_another_the_encoder_is_that_of_the_default_bundle(call: Call, tmp_path: Path) -> None:
    assert call("--draws", 1) == 0
    shipped = shipped_bundles()["default"] / SPEAKER_NAME
    assert SpeakerModel.load(tmp_path / "out").onnx.read_bytes() == shipped.read_bytes()


def test_the_table_is_kept_and_a_damaged_one_made_anew(
    choir: Path, brightness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = read_corpus("csv", choir / "choir").utterances[:24]
    source = VoiceSource(brightness)
    first = cached_voices(source, utterances, tmp_path)
    (path,) = tmp_path.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(voice_table, "read_voices", lambda *_: pytest.fail("is read again"))
        assert (cached_voices(source, utterances, tmp_path).prints == first.prints).all()
    path.write_bytes(path.read_bytes()[:100])
    assert (cached_voices(source, utterances, tmp_path).prints == first.prints).all()
    cached_voices(source, utterances[:12], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2, "another list, another table"


def test_a_clip_enrols_or_is_tested_and_what_cannot_be_read_is_left_out(
    choir: Path, brightness: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    utterances = read_corpus("csv", choir / "choir").utterances
    gone = [type(utterances[0])(tmp_path / "gone.wav", "choir", "choir-voice0-train", "happy")]
    voices = read_voices(VoiceSource(brightness), [*gone, *utterances])
    assert "gone.wav: no such file" in caplog.text
    whole = voices.target_s == 0
    assert whole.sum() == len(utterances)
    assert voices.enrols[whole].sum() == len(utterances) // 2
    assert not voices.enrols[~whole].any()
    assert (voices.duration_s[voices.target_s == 1] == 1).all()
    with pytest.raises(UsageError, match="none of 1 files can be read"):
        read_voices(VoiceSource(brightness), gone)


def test_mistakes_are_told_in_one_line(
    call: Call, brightness: Path, choir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(choir, tmp_path / "few")
    table = tmp_path / "few" / "choir" / "choir.csv"
    table.write_text("\n".join(row for row in table.read_text().splitlines() if row[0] in "p234567"))
    onnx.save(tiny_encoder(), tmp_path / "emotion.onnx")
    for code, message, options in (
        (2, "a corpus of at least 7 speakers is needed, of whom 5 are held out; the corpora have choir 6",
         ("--encoder", brightness, "--data", "few")),
        (2, "--leave-out 'corpus' is not one of corpora, speakers (did you mean 'corpora'?)",
         ("--leave-out", "corpus")),
        (2, "--without ravdess: the recipe has csv", ("--without", "ravdess")),
        (3, "emotion.onnx: has inputs lengths, waveform and outputs", ("--encoder", "emotion.onnx")),
        (2, "gone/choir: must be a CSV file or a folder", ("--encoder", brightness, "--data", "gone")),
    ):  # fmt: skip
        assert call(*options) == code, options
        printed = capsys.readouterr()
        assert printed.out == ""
        assert message in printed.err
        assert printed.err.count("\n") == 1, printed.err
    assert not (tmp_path / "out").exists()
