import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Bundle
from edge.errors import UsageError
from export.measure import encoders
from export.measure.former import BUNDLES, take

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(checkout: Path, *arguments: str) -> None:
    someone = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *someone, "-C", str(checkout), *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(bundle: Bundle, tmp_path: Path) -> Path:
    """A history in which version 3 was there twice, and is followed by one that nothing can read."""
    checkout = tmp_path / "checkout"
    folder = checkout / BUNDLES / "tiny"
    shutil.copytree(bundle.folder, folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    git(tmp_path, "init", "-q", str(checkout))
    for version, note in (("2", ""), ("3", "first"), ("3", "last"), ("4", "")):
        text = json.dumps(manifest | {"version": version, "schema_version": 1, "note": note})
        (folder / "bundle.json").write_text(text)
        git(checkout, "add", "-A")
        git(checkout, "commit", "-q", "-m", f"{version} {note}")
    return checkout


def test_the_last_commit_with_a_version_is_taken(checkout: Path, tmp_path: Path) -> None:
    found = take("tiny", "3", tmp_path / "out", checkout)
    manifest = json.loads((found.folder / "bundle.json").read_text())
    assert (manifest["version"], manifest["note"]) == ("3", "last")
    assert (found.label, found.dim) == ("tiny 3", manifest["encoder"]["embedding_dim"])


def test_its_encoder_runs_alone_whatever_its_manifest_says(checkout: Path, bundle: Bundle, tmp_path: Path) -> None:
    encoder = take("tiny", "3", tmp_path / "out", checkout).opened(1)
    waveform = np.zeros(12_000, np.float32)
    assert encoder(waveform).shape == (1, bundle.manifest.encoder.embedding_dim)  # type: ignore[attr-defined]
    assert encoder.flops(waveform) == 0  # loudness takes no products


def test_a_version_that_never_was_is_no_commit(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tiny 7: no commit has it"):
        take("tiny", "7", tmp_path, checkout)


def test_a_shallow_clone_has_no_history(checkout: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", checkout.as_uri(), str(shallow))
    with pytest.raises(UsageError, match="tiny 3: this is a shallow clone"):
        take("tiny", "3", tmp_path, shallow)


def test_a_source_distribution_has_no_history(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no git checkout"):
        take("tiny", "3", tmp_path, tmp_path)


def test_what_is_not_there_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(encoders, "FORMER", (("never", "0"),))
    older, reasons = encoders._former(tmp_path)
    assert not older
    assert "Left out is never 0: " in encoders._about(older, reasons)
