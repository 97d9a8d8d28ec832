"""The wheel as a user gets it: what is in it, and that it works in a fresh environment, away from the checkout."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge import __version__

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "conversation.flac"
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "configs", "edge", "calibrate", "export")
PROGRAM = """
import sys

import numpy

import edge

print(edge.__file__)
model = edge.load()
print(*(event.emotion for event in model.analyze(sys.argv[1])))
with edge.listen(sys.argv[1], model=model, settings={"capture.realtime": False}) as events:
    print(*(event.emotion for event in events if event.type == "utterance"))
print(len(model.probabilities(numpy.random.default_rng(0).normal(0, 0.1, 16_000).astype(numpy.float32))))
"""
MINUTES = ("gain",)
"""Cases that take minutes; ``ALL_CASES=1 make test`` tries them, too."""
CANNOT_BE_TRIED = 77
NO_INDEX = re.compile(r"connection|timed out|name resolution|network is unreachable|no matching distribution", re.I)

pytestmark = pytest.mark.slow


def run(arguments: Sequence[object], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder and a home without affectd's sources and settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AFFECTD_", "PYTHON", "XDG_"))}
    own |= {"HOME": str(cwd), "PIP_DISABLE_PIP_VERSION_CHECK": "1"} | environment
    return subprocess.run([*map(str, arguments)], cwd=cwd, env=own, capture_output=True, text=True, check=False)


def pip(python: Path | str, *arguments: object, cwd: Path) -> None:
    """Let pip do something with the user's cache; the test is skipped where it reaches no package index."""
    home = {"HOME": os.environ.get("HOME", str(cwd))}
    result = run((python, "-m", "pip", "--quiet", *arguments), cwd, **home)
    if result.returncode and NO_INDEX.search(result.stderr):
        pytest.skip(f"pip reaches no package index here: {result.stderr.strip().splitlines()[-1]}")
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the checkout, so that no build folder of the checkout's own gets into it."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / "source" / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / "source" / name)
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, folder / "source", cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The programs of a fresh environment with the wheel's device side."""
    folder = wheel.parent / "environment"
    venv.create(folder)
    target = ("--python", folder / "bin" / "python")
    pip(sys.executable, *target, "install", "--no-compile", f"affectd[cpu] @ {wheel.as_uri()}", cwd=wheel.parent)
    return folder / "bin"


def test_the_wheel_holds_every_file_of_the_packages_and_the_licence(wheel: Path) -> None:
    packages = (ROOT / name for name in ("edge", "calibrate", "export"))
    files = [path for package in packages for path in package.rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    expected |= {f"edge/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.toml")}
    held = set(zipfile.ZipFile(wheel).namelist())
    assert expected <= held
    assert f"affectd-{__version__}.dist-info/licenses/LICENSE" in held
    assert {name.split("/")[0] for name in held} == {"edge", "calibrate", "export", f"affectd-{__version__}.dist-info"}


def test_the_installed_commands_work_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert run((installed / "affectd", "--version"), tmp_path).stdout == f"affectd {__version__}\n"
    diagnosis = run((installed / "affectd", "doctor", "--json", "--source", "-"), tmp_path)
    assert json.loads(diagnosis.stdout), diagnosis.stderr
    shown = run((installed / "affectd", "config", "show", "--config", "gpu", "--json"), tmp_path)
    assert '"cuda"' in shown.stdout, shown.stderr
    analysis = run((installed / "affectd", "analyze", EXAMPLE, "--json"), tmp_path)
    assert analysis.returncode == 0, analysis.stderr
    with EXAMPLE.with_suffix(".csv").open(encoding="utf-8", newline="") as turns:
        assert len(analysis.stdout.splitlines()) == len(list(csv.DictReader(turns)))


def test_the_installed_library_works_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    result = run((installed / "python", "program.py", EXAMPLE), tmp_path)
    assert result.returncode == 0, result.stderr
    place, analyzed, listened, count = result.stdout.splitlines()
    assert Path(place).is_relative_to(installed.parent)
    assert analyzed == listened
    assert int(count) == 7


def test_what_users_ran_into_does_not_come_back(field_case: Path, installed: Path, tmp_path: Path) -> None:
    if field_case.parent.name in MINUTES and not os.environ.get("ALL_CASES"):
        pytest.skip("takes minutes: ALL_CASES=1 tries it")
    result = run(("sh", field_case), tmp_path, AFFECTD=str(installed / "affectd"))
    said = (result.stdout + result.stderr).strip()
    if result.returncode == CANNOT_BE_TRIED:
        pytest.skip(said or f"{field_case.parent.name} cannot be tried on this machine")
    assert result.returncode == 0, said


def test_an_installed_training_side_finds_its_recipes_and_heads(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
    program = (
        "import edge; from pathlib import Path; from calibrate.recipe import read_recipe; print(edge.__file__);"
        "print(read_recipe(Path('default-train'), 'deep').head.kind)"
    )
    result = run((sys.executable, "-c", program), tmp_path, PYTHONPATH=str(tmp_path / "unpacked"))
    assert result.returncode == 0, result.stderr
    place, kind = result.stdout.splitlines()
    assert Path(place).is_relative_to(tmp_path / "unpacked")
    assert kind == "stack"
