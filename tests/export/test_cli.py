import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import Bundle
from export.cli.app import main
from helpers.calling import exit_code

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

Call = Callable[..., int]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-export bundle`` inside the test's process, in an empty folder, and return its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: object) -> int:
        return exit_code(main, monkeypatch, "affectd-export", "bundle", *arguments, "--threads", "1")

    return call


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line on standard error."""
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line


def test_a_run_becomes_a_bundle_in_a_process_of_its_own(exported: Any) -> None:
    printed = exported.stdout
    assert exported.stderr == ""
    assert "checks of the export" in printed
    assert "least cosine of fp32 to torch" in printed
    assert "office" in printed
    megabytes = sum(path.stat().st_size for path in exported.folder.iterdir()) / 1e6
    assert printed.endswith(f"bundle written to {exported.folder}, {megabytes:.1f} MB\n")
    protocol = Bundle.load(exported.folder).manifest.metrics["protocol"]
    assert protocol.startswith("`affectd-export bundle`: test speakers of splits.csv, never trained on; what is spoken")
    assert "fp32, CPU; 3 labels" in protocol


def test_the_device_runs_the_bundle(exported: Any, data: Path, tmp_path: Path) -> None:
    clips = sorted((data / "ravdess" / "Actor_06").glob("*.wav"))
    command = ["analyze", *clips, "--bundle", exported.folder, "--whole-file", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "edge", *map(str, command)],
        cwd=ROOT, env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(event["path"]).name for event in events] == [clip.name for clip in clips]
    for event in events:
        assert list(event["scores"]) == ["neutral", "happy", "angry"]
        assert sum(event["scores"].values()) == pytest.approx(1, abs=1e-3)
    truth = [{"01": "neutral", "03": "happy", "05": "angry"}[clip.name[6:8]] for clip in clips]
    heard = [max(event["scores"], key=event["scores"].__getitem__) for event in events]
    assert np.mean([said == true for said, true in zip(heard, truth, strict=True)]) > 0.5


def test_the_command_line_itself_waits_for_no_torch() -> None:
    code = "import sys, export.cli.commands; sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0


def test_a_missing_run_is_a_model_error(call: Call, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("runs/nothing", "--data", data, "--out", "out") == 3
    assert complaint(capsys).startswith("affectd-export: runs/nothing: holds no finished training run")
    assert not Path("out").exists()


def test_a_misspelt_precision_is_refused_before_any_work(
    call: Call, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("runs/nothing", "--data", data, "--out", "out", "--precision", "int88") == 2
    said = "precision 'int88' is not one of fp32, fp16, int8 (did you mean 'int8'?)"
    assert complaint(capsys) == f"affectd-export: {said}"
    assert call("runs/nothing", "--data", data, "--out", "out", "--quantisation", "statical") == 2
    said = "quantisation 'statical' is not one of dynamic, static, auto (did you mean 'static'?)"
    assert complaint(capsys) == f"affectd-export: {said}"


def test_a_bundle_that_is_too_large_is_refused_before_the_long_checks(
    call: Call, data: Path, run_folder: Path, traced: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(run_folder, "--data", data, "--out", "out", "--quantisation", "static", "--max-mb", 0.1) == 3
    assert re.match(r"affectd-export: the bundle has 0\.\d+ MB of at most 0\.1: encoder\.onnx", complaint(capsys))
    assert not Path("out").exists()


def test_an_export_without_test_speakers_is_refused(
    call: Call, data: Path, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(shutil.copytree(data, tmp_path / "data"))
    (own / "splits.csv").write_text((own / "splits.csv").read_text().replace(",test", ",train"))
    assert call(run_folder, "--data", own, "--out", "out") == 2
    assert complaint(capsys) == f"affectd-export: {own}: no test speakers, and an export is checked on them"


def test_a_missing_corpus_is_named(
    call: Call, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(run_folder, "--data", tmp_path / "nowhere", "--out", "out") == 2
    assert "nowhere/ravdess" in complaint(capsys)


def test_a_folder_of_something_else_is_refused(
    call: Call, data: Path, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").touch()
    assert call(run_folder, "--data", data, "--out", "thesis") == 2
    assert complaint(capsys).startswith("affectd-export: thesis: holds something else than a bundle")
