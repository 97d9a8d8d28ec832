"""What the tests of ``affectd-calibrate embed`` share: corpora, the command, and a look at what it wrote."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from calibrate.cli.app import main
from helpers import layouts
from helpers.calling import exit_code

FILES = {"embeddings.npy", "utterances.csv", "manifest.json"}
SMALL = ("--shard", 5, "--batch-s", 1)
"""24 utterances in five shards, of two batches or three each."""


Embed = Callable[..., int]


@pytest.fixture(scope="module")
def crema_d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layouts.crema_d(tmp_path_factory.mktemp("crema-d"))


@pytest.fixture(scope="module")
def esd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layouts.esd(tmp_path_factory.mktemp("esd"))


@pytest.fixture
def embed(monkeypatch: pytest.MonkeyPatch) -> Embed:
    """Call the command and return its exit code."""
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-calibrate", "embed", *arguments, "--threads", 1)


def table(out: Path, name: str = "utterances.csv") -> list[dict[str, str]]:
    with (out / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
