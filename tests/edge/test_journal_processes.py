"""The journal of a real ``affectd run``: killed, out of space, and while somebody is forgotten."""

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Bundle
from edge.journal import Entry, Journal
from edge.people.store.vault import Vault
from edge.vad import to_pcm
from helpers.conversation import Conversation
from helpers.household import anna, enrol
from helpers.signals import silence

pytestmark = pytest.mark.slow

Call = Callable[..., int]
Start = Callable[..., "subprocess.Popen[bytes]"]
HANGS_S = 30
SMALL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))
from edge.cli.app import main
main()
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def listening(store: Path, bundle_folder: Path) -> tuple[object, ...]:
    """Arguments of ``affectd run`` that reads PCM, and writes JSON lines and a journal."""
    return (
        *("run", "--source", "-", "--fast", "--store", store, "--bundle", bundle_folder),
        *("--set", "outputs.0.type=journal", "--set", "outputs.1.type=json", "--set", "room.remember=false"),
    )


def rows(store: Path) -> list[Entry]:
    with Journal(store / "journal.db") as journal:
        return list(journal.entries(lambda: Vault.load(store)))


def emotions(store: Path) -> list[str]:
    return [entry.answer.emotion for entry in rows(store) if entry.answer]


def until(reached: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + HANGS_S
    while not reached():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


def test_rows_survive_kill_9_and_the_next_run_appends(
    start: Start, listening: tuple[object, ...], store: Path, conversation: Conversation
) -> None:
    pcm = to_pcm(conversation.samples / 4)
    process = start(*listening)
    assert process.stdin
    process.stdin.write(3 * pcm)
    process.stdin.flush()
    until(lambda: (store / "journal.db").exists() and len(emotions(store)) >= 5)
    process.kill()
    process.wait(HANGS_S)
    survived = emotions(store)
    assert len(survived) >= 5
    with closing(sqlite3.connect(store / "journal.db")) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert start(*listening).communicate(pcm, timeout=HANGS_S)
    assert len(emotions(store)) == len(survived) + 3
    assert [entry.fact for entry in rows(store) if not entry.answer] == ["ready", "ready", "stopped"]


def test_a_full_disk_is_said_and_the_other_output_goes_on(
    start: Start, listening: tuple[object, ...], store: Path, conversation: Conversation
) -> None:
    process = start(*listening, program=("-c", SMALL_DISK))
    stdout, stderr = process.communicate(25 * to_pcm(conversation.samples / 4), timeout=HANGS_S)
    events = [json.loads(line) for line in stdout.splitlines()]
    assert sum(event["type"] == "utterance" for event in events) == 75
    (trouble,) = [event["message"] for event in events if event.get("reason") == "output_trouble"]
    assert f"{store / 'journal.db'}: the disk is full" in trouble
    assert "the disk is full" in stderr.decode()
    assert 1 <= len(emotions(store)) < 75
    with closing(sqlite3.connect(store / "journal.db")) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_somebody_is_forgotten_while_it_runs(
    start: Start,
    call: Call,
    listening: tuple[object, ...],
    store: Path,
    bundle: Bundle,
    capsys: pytest.CaptureFixture[str],
) -> None:
    person = enrol(store, bundle, "Anna", anna)
    said = to_pcm(np.concatenate([silence(0.5), anna(1.5, 7), silence(1.0)]) / 4)
    process = start(*listening, "--speaker", "Anna", "--set", "speakers.gate=1")
    assert process.stdin
    process.stdin.write(2 * said)
    process.stdin.flush()
    until(lambda: (store / "journal.db").exists() and person.id in {entry.person for entry in rows(store)})
    assert call("speakers", "forget", "anna", "--yes", "--store", store) == 0
    assert "Anna is forgotten, and so " in capsys.readouterr().err
    for path in store.glob("*"):
        content = path.read_bytes()
        assert b"Anna" not in content
        assert person.id.encode() not in content
    process.communicate(2 * said, timeout=HANGS_S)
    assert process.returncode == 0
    assert {entry.person for entry in rows(store)} <= {None}


def test_it_is_switched_on_while_people_are_heard(
    start: Start, call: Call, store: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    person = enrol(store, bundle, "Anna", anna)
    config = tmp_path / "affectd.toml"
    before = f'[encoder]\nbundle = "{bundle.folder}"\n[speakers]\nstore = "{store}"\nonly = ["Anna"]\ngate = 1\n'
    config.write_text(before)
    process = start("run", "--config", config, "--source", "-", "--json")
    assert process.stdin
    assert process.stdout
    process.stdin.write(to_pcm(silence(1.0)))
    process.stdin.flush()
    assert b'"ready"' in process.stdout.readline()
    config.write_text(f'{before}[[outputs]]\ntype = "journal"\n')
    assert call("reload", "--pid", process.pid) == 0
    process.communicate(to_pcm(np.concatenate([anna(1.5, 7), silence(1.0)]) / 4), timeout=HANGS_S)
    assert process.returncode == 0
    assert [entry.person for entry in rows(store) if entry.answer] == [person.id]


def test_what_is_no_journal_ends_the_run_before_it_begins(
    start: Start, listening: tuple[object, ...], tmp_path: Path
) -> None:
    recording = tmp_path / "talk.wav"
    recording.write_bytes(b"RIFF")
    process = start(*listening, "--set", f"outputs.0.path={recording}")
    stdout, stderr = process.communicate(b"", timeout=HANGS_S)
    assert (process.returncode, stdout) == (2, b"")
    assert b"it exists and is no journal of affectd" in stderr
    assert recording.read_bytes() == b"RIFF"
