"""A store that is mounted read-only, as in an image: to know people needs no writing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ExitCode
from edge.people.store import SpeakerStore
from edge.people.store.database import Database
from edge.people.store.person import Consent
from helpers.conversation import Conversation

ROOT = Path(__file__).resolve().parents[2]
CONSENT = Consent(text_version="1", how="asked")
UNSHARE = ("unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount")
FOLLOWS = """
import sys
from pathlib import Path
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent
reader, writer = SpeakerStore.open(Path(sys.argv[2]), readonly=True), SpeakerStore.open(Path(sys.argv[1]))
for name in ("Bo", "Cy"):
    before = reader.version()
    writer.add_person(name, Consent(text_version="1", how="asked"))
    writer.close()
    assert reader.version() > before
assert [person.name for person in reader.people()] == ["Ann", "Bo", "Cy"]
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with SpeakerStore.open(tmp_path / "store") as opened:
        opened.add_person("Ann", CONSENT)
    (tmp_path / "mounted").mkdir()
    return tmp_path / "store"


def in_readonly_mount(store: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run Python where ``mounted``, beside the store, is the store and cannot be written."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting needs unshare, and the right to use it")
    mounted = store.parent / "mounted"
    script = 'mount --bind "$0" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    command = [*UNSHARE, "sh", "-c", script, str(store), str(mounted), sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_readonly_store_is_read(
    clean_environment: None, store: Path, conversation: Conversation, bundle_folder: Path
) -> None:
    options = ("--store", store.parent / "mounted", "--bundle", bundle_folder)
    for command in (
        ("run", "--source", conversation.path, "--fast", "--speaker", "ann"),
        ("analyze", conversation.path),
        ("speakers", "list"),
        ("doctor", "--source", "-"),
    ):
        done = in_readonly_mount(store, "-m", "edge", *command, *options)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


def test_a_change_of_a_readonly_store_is_refused_in_a_line(clean_environment: None, store: Path) -> None:
    for command in (("rename", "ann", "Anna"), ("refine", "ann", "--allow"), ("forget", "ann", "--yes")):
        done = in_readonly_mount(store, "-m", "edge", "speakers", *command, "--store", store.parent / "mounted")
        assert done.returncode == ExitCode.STORE
        assert "this user must be able to write to it" in done.stderr
        assert done.stderr.count("\n") == 1


def test_changes_by_others_are_followed_through_a_readonly_mount(store: Path) -> None:
    done = in_readonly_mount(store, "-c", FOLLOWS, store, store.parent / "mounted")
    assert done.returncode == 0, done.stderr


def test_a_log_that_was_cut_off_is_not_overlooked(store: Path) -> None:
    writer = Database(store / "speakers.db", readonly=False)
    with writer.writing() as db:
        db.execute("UPDATE store SET traces = 0")
    for name in ("speakers.db", "speakers.db-wal"):
        shutil.copy(store / name, store.parent / "mounted" / name)
    writer.close()
    image = store.parent / "image"
    (store.parent / "mounted").rename(image)
    (store.parent / "mounted").mkdir()
    done = in_readonly_mount(image, "-m", "edge", "speakers", "list", "--store", store.parent / "mounted")
    assert done.returncode == ExitCode.STORE
    assert "speakers.db-wal: holds changes" in done.stderr
