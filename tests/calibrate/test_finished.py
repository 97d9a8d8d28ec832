"""What is finished is replaced only when that is said, and this is found out before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from calibrate.cli.app import main as calibrate_main
from calibrate.cli.commands import app as calibrate_app
from calibrate.finished import keep_finished
from edge.bundle import MANIFEST_NAME
from edge.errors import UsageError
from export.cli.app import main as export_main
from export.cli.commands import app as export_app
from helpers.calling import exit_code

REPORTS = {
    "adaptation": "adaptation.md", "calibrated": "calibration.md", "compare": "comparison.md",
    "crossvalidate": "adaptation.md", "evaluate": "report.md", "folds": "folds.md", "generalise": "generalisation.md",
    "household": "household.md", "papt": "papt.json", "personalise": "personalisation.md", "pldc": "pldc.md",
    "report": "report.md", "robustness": "robustness.md",
    "sounds": "sounds.md", "strangers": "strangers.md",
    "sweep": "sweep.md", "table": "summary.json", "text-control": "text-control.md", "transfer": "transfer.md",
    "verification": "verification.md", "train": "run.json",
}  # fmt: skip
MODELS = {
    "bundle": MANIFEST_NAME, "distil": "run.json", "replace-speaker": MANIFEST_NAME, "speaker": "",
    "thin": "model.safetensors",
}  # fmt: skip
ARGUMENTS = {
    "compare": ("a", "b"), "table": ("csv", "gone"), "text-control": ("csv", "gone", "--encoder", "gone"),
    "household": ("gone", "--recipe", "gone.toml"), "sounds": ("gone", "gone"),
    "transfer": ("gone.toml", "--source", "a", "--target", "b"),
    "papt": ("papt",), "train": ("default-train",), "distil": ("gone", "distil-nano"),
    "replace-speaker": ("gone", "--verifier", ".", "--version", "2"), "speaker": ("gone", "--licence", "MIT"),
    "thin": ("default-train",),
}  # fmt: skip
NO_DATA = {"table", "text-control", "replace-speaker", "speaker"}


def writers(app: typer.Typer) -> set[str]:
    """Return the commands that write what ``--out`` names, and that can be told to replace it."""
    commands = typer.main.get_command(app).commands
    return {name for name, command in commands.items() if {"out", "force"} <= {each.name for each in command.params}}


@pytest.mark.parametrize("command", [*REPORTS, *MODELS])
def test_a_finished_result_is_kept(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = (REPORTS | MODELS)[command]
    out = tmp_path / "out"
    file = out / name if name else out
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    program, main = ("affectd-calibrate", calibrate_main) if command in REPORTS else ("affectd-export", export_main)
    data = () if command in NO_DATA else ("--data", ".")
    arguments = (program, command, *ARGUMENTS.get(command, ("gone",)), *data, "--out", out)
    assert exit_code(main, monkeypatch, *arguments) == 2
    assert "already; --force replaces it, --out writes elsewhere" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert exit_code(main, monkeypatch, *arguments, "--force") in (1, 2, 3), "there is nothing to make a new one of"
    assert "--force replaces it" not in capsys.readouterr().err


def test_every_command_that_writes_is_tried() -> None:
    assert writers(calibrate_app) == {*REPORTS, "init"}
    assert writers(export_app) == {*MODELS}


def test_other_files_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "other.md").touch()
    keep_finished(tmp_path, False, "report.md")
    keep_finished(tmp_path / "gone", False, "report.md")
    keep_finished(tmp_path / "gone.onnx", False)
    with pytest.raises(UsageError, match=r"holds other\.md already"):
        keep_finished(tmp_path, False, "report.md", "other.md")


def test_make_replaces_what_ships() -> None:
    recipe = (Path(__file__).resolve().parents[2] / "Makefile").read_text().replace("\\\n", " ")
    commands = [line for line in recipe.splitlines() if line.startswith(("\t$(CALIBRATE)", "\t$(EXPORT)"))]
    assert len(commands) > 5
    assert [command for command in commands if "--force" not in command] == []
