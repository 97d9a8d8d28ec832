from __future__ import annotations

import io
import json
import os
import pty
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle import Bundle
from edge.people.store import SpeakerStore
from edge.people.store.person import EnrolledClip
from edge.people.voice_profiles import estimate_voice_profile, to_stored
from edge.room import Room
from edge.room_store import RoomStore
from edge.settings import RoomSettings, Settings, SpeakerSettings
from helpers.conversation import Conversation
from helpers.voices import CONSENT, ENCODER, SPEAKER_ENCODER

Call = Callable[..., int]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, bundle: Bundle) -> Path:
    """A store with Anna and Zoë, enrolled with the tiny bundle, Bo with another one, and Dan without a voiceprint."""
    folder = tmp_path / "store"
    with SpeakerStore.open(folder) as opened:
        for name, angle, may_refine in (("Anna", 0.2, True), ("Zo\xeb", 1.2, False)):
            person = opened.add_person(name, CONSENT, may_refine)
            clips = [clip(bundle, number, angle) for number in range(4)]
            for each in clips:
                opened.add_clip(person, each)
            for reason in ("enrolled 3 clips", "enrolled 4 clips"):
                opened.save_voice_profile(person, to_stored(estimate_voice_profile(bundle, clips), bundle, reason))
        bo = opened.add_person("Bo", CONSENT)
        opened.add_clip(bo, clip(bundle, 1, 0.2).model_copy(update={"encoder_hash": ENCODER}))
        dan = opened.add_person("Dan", CONSENT)
        opened.add_clip(dan, clip(bundle, 1, 0.2).model_copy(update={"speaker_hash": SPEAKER_ENCODER}))
        assert estimate_voice_profile(bundle, clips).share == 0.25
    return folder


def clip(bundle: Bundle, number: int, angle: float) -> EnrolledClip:
    return EnrolledClip(
        encoder_hash=bundle.encoder_hash,
        speaker_hash=bundle.speaker_hash,
        embedding=np.array([0.01 * number, 0.01, 1], np.float32),
        voiceprint=np.array([np.cos(angle), np.sin(angle)], np.float32),
        label="happy" if number == 3 else None,
        duration_s=2.0,
    )


@pytest.fixture
def speakers(call: Call, store: Path) -> Call:
    """Run ``affectd speakers`` with that store."""
    return lambda command, *arguments: call("speakers", command, "--store", store, *arguments)


def listed(speakers: Call, capture: Capture, bundle: Path) -> dict[str, dict[str, Any]]:
    capture.readouterr()
    assert speakers("list", "--json", "--bundle", bundle) == 0
    return {entry["name"]: entry for entry in json.loads(capture.readouterr().out)}


def names(store: Path) -> list[str]:
    with SpeakerStore.open(store) as opened:
        return [person.name for person in opened.people()]


def test_list_tells_what_the_bundle_can_do(speakers: Call, bundle_folder: Path, capsys: Capture) -> None:
    entries = listed(speakers, capsys, bundle_folder)
    assert {name: (entry["state"], entry["clips"], entry["speech_s"]) for name, entry in entries.items()} == {
        "Anna": ("ready", 4, 8.0),
        "Bo": ("must enrol again", 0, 0),
        "Dan": ("no voiceprints", 1, 2.0),
        "Zo\xeb": ("ready", 4, 8.0),
    }
    assert [entry["may_refine"] for entry in entries.values()] == [True, False, False, False]
    assert speakers("list", "--bundle", bundle_folder) == 0
    text = capsys.readouterr().out
    assert "Zo\xeb" in text
    assert "must enrol again with this bundle" in text


def test_list_without_people(call: Call, tmp_path: Path, bundle_folder: Path, capsys: Capture) -> None:
    assert call("speakers", "list", "--store", tmp_path / "empty", "--bundle", bundle_folder) == 0
    assert capsys.readouterr().err == f"affectd: nobody is enrolled in {tmp_path / 'empty'}: affectd enroll NAME\n"
    assert not (tmp_path / "empty").exists()


def test_list_and_show_work_without_bundle_and_key(
    speakers: Call, store: Path, bundle_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    entries = listed(speakers, capsys, tmp_path / "gone")
    assert {(entry["state"], entry["clips"] > 0) for entry in entries.values()} == {("unknown", True)}
    assert speakers("show", "anna", "--bundle", tmp_path / "gone") == 0
    stdout, stderr = capsys.readouterr()
    assert "Anna" in stdout
    assert "the state of people is unknown: no bundle folder" in stderr
    (store / "store.key").unlink()
    entries = listed(speakers, capsys, bundle_folder)
    assert entries["Anna"] | {"changed_at": ""} == {
        "name": "Anna",
        "state": "unknown",
        "clips": 4,
        "speech_s": None,
        "changed_at": "",
        "may_refine": True,
        "consent": json.loads(CONSENT.model_dump_json()),
    }
    assert speakers("show", "anna", "--bundle", bundle_folder) == 0
    stdout, stderr = capsys.readouterr()
    assert "unknown" in stdout
    assert stderr.count("the key of the store is missing") == 1


def test_show_tells_everything(speakers: Call, store: Path, bundle_folder: Path, capsys: Capture) -> None:
    assert speakers("show", "ANNA", "--json", "--bundle", bundle_folder) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["labels"] == {"unlabelled": 3, "happy": 1}
    assert shown["trust"] == pytest.approx(4 / 16, abs=0.001)
    assert [(item["revision"], item["reason"]) for item in shown["revisions"]] == [
        (2, "enrolled 4 clips"),
        (1, "enrolled 3 clips"),
    ]
    assert shown["similar"] == []
    assert speakers("show", "Anna", "--bundle", bundle_folder) == 0
    text = capsys.readouterr().out
    for words in ("to text 1 (asked)", "allowed", "3 unlabelled, 1 happy", "25%", "enrolled 3 clips"):
        assert words in text


def test_show_warns_of_people_who_sound_alike(
    speakers: Call, store: Path, bundle: Bundle, bundle_folder: Path, capsys: Capture
) -> None:
    with SpeakerStore.open(store) as opened:
        twin = opened.add_person("Twin", CONSENT)
        for number in range(4):
            opened.add_clip(twin, clip(bundle, number, 0.21))
    assert speakers("show", "Twin", "--bundle", bundle_folder) == 0
    assert "Anna: they may be taken for each other" in capsys.readouterr().out


def test_rename_and_refine(speakers: Call, store: Path, bundle_folder: Path, capsys: Capture) -> None:
    assert speakers("rename", "anna", "  Anna K. ") == 0
    assert capsys.readouterr().err == "affectd: anna is now called Anna K.\n"
    assert speakers("rename", "Anna K.", "BO") == 5
    assert "the name 'BO' is taken" in capsys.readouterr().err
    assert speakers("refine", "anna k.", "--deny", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "Anna K."}
    assert not listed(speakers, capsys, bundle_folder)["Anna K."]["may_refine"]
    assert speakers("refine", "anna k.", "--allow") == 0
    assert listed(speakers, capsys, bundle_folder)["Anna K."]["may_refine"]
    assert speakers("refine", "anna k.") == 2
    assert "--allow or --deny" in capsys.readouterr().err


def test_revert(speakers: Call, store: Path, bundle: Bundle, bundle_folder: Path, capsys: Capture) -> None:
    assert speakers("revert", "Anna", 1, "--json", "--bundle", bundle_folder) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "Anna", "revision": 3}
    with SpeakerStore.open(store) as opened:
        newest = opened.voice_profile(opened.person("Anna"), bundle.encoder_hash)
        assert newest is not None
        assert newest.reason == "reverted to revision 1"
    assert speakers("revert", "Anna", 99, "--bundle", bundle_folder) == 5
    assert "there are: 3, 2, 1" in capsys.readouterr().err
    assert speakers("revert", "Anna", 1, "--bundle", store) == 3


def test_forget_needs_an_answer(speakers: Call, store: Path, capsys: Capture) -> None:
    assert speakers("forget", "Anna") == 2
    assert "run this on a terminal, or with --yes" in capsys.readouterr().err
    assert "Anna" in names(store)
    assert speakers("forget", "Anna", "--yes", "--json") == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout) == {"name": "Anna", "rooms": 0, "journal": 0}
    assert stderr == "affectd: Anna is forgotten\n"
    assert names(store) == ["Bo", "Dan", "Zo\xeb"]
    assert speakers("forget", "Ana", "--yes") == 5


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\xff\n", 1), (b"\x04", 1)])
def test_forget_asks_at_a_terminal(clean_environment: None, store: Path, answer: bytes, code: int) -> None:
    terminal, side = pty.openpty()
    command = [sys.executable, "-m", "edge", "speakers", "forget", "anna", "--store", str(store)]
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(command, cwd=root, stdin=side, stdout=subprocess.PIPE, stderr=side)
    os.close(side)
    shown = b""
    while b"Forget Anna? It cannot be undone. [y/N]" not in shown:
        shown += os.read(terminal, 4096)
    os.write(terminal, answer)
    assert process.wait(30) == code
    time.sleep(0.05)
    shown += os.read(terminal, 4096)
    os.close(terminal)
    assert b"Traceback" not in shown
    assert ("Anna" in names(store)) == bool(code)


def test_forget_works_while_all_else_is_off(
    speakers: Call, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (store / "store.key").unlink()
    monkeypatch.setenv("AFFECTD_ENCODER_BUNDLE", str(tmp_path / "gone"))
    for name in ("encoder", "recognizer", "pipeline", "analyze", "providers", "people.roster", "people.household"):
        monkeypatch.delitem(sys.modules, f"edge.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert speakers("forget", "Anna", "--yes") == 0
    assert speakers("list") == 0
    assert "Anna" not in capsys.readouterr().out
    for path in store.iterdir():
        assert b"Anna" not in path.read_bytes()


def test_all_rooms_are_forgotten_with_a_person(speakers: Call, store: Path, bundle: Bundle, capsys: Capture) -> None:
    rooms = RoomStore(Settings(speakers=SpeakerSettings(store=str(store))))
    for name in ("desk", "kitchen"):
        rooms.save(name, bundle, Room(bundle.population, RoomSettings()))
    (store / "store.key").unlink()
    (rooms.folder / "broken.safetensors").write_bytes(b"broken")
    assert speakers("forget", "Anna", "--yes", "--json") == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout) == {"name": "Anna", "rooms": 3, "journal": 0}
    assert stderr == "affectd: Anna is forgotten, and so are all rooms, where they may have been heard\n"
    assert list(rooms.folder.iterdir()) == []


def test_a_running_affectd_does_not_hinder_forgetting(
    speakers: Call, start: Callable[..., Any], store: Path, conversation: Conversation, bundle_folder: Path
) -> None:
    running = start("run", "--source", "-", "--json", "--store", store, "--bundle", bundle_folder)
    running.stdin.write(bytes(16_000))
    running.stdin.flush()
    assert b"ready" in running.stdout.readline()
    assert speakers("forget", "Zo\xeb", "--yes") == 0
    assert running.poll() is None
    for path in store.iterdir():
        assert "Zo\xeb".encode() not in path.read_bytes()
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 0


def test_export_and_import(speakers: Call, store: Path, tmp_path: Path, bundle_folder: Path, capsys: Capture) -> None:
    file = tmp_path / "anna.json"
    assert speakers("export", "anna", "--out", file) == 0
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert stderr.startswith("affectd: this is the voice data of Anna in the clear")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    assert speakers("export", "zo\xeb", "--out", file) == 2
    assert f"{file} exists already; --force replaces it" in capsys.readouterr().err
    assert file.read_bytes() == before
    file.chmod(0o644)
    assert speakers("export", "anna", "--out", file, "--force") == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert speakers("import", file) == 5
    assert speakers("import", file, "--name", "Anna 2", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "Anna 2"}
    entries = listed(speakers, capsys, bundle_folder)
    assert entries["Anna 2"]["clips"] == 4
    assert entries["Anna 2"]["consent"] == entries["Anna"]["consent"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["anna.json", "store"]


def test_export_through_pipes(
    speakers: Call, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert speakers("export", "anna") == 0
    exported = capsysbinary.readouterr().out
    assert json.loads(exported)["content"]["person"]["name"] == "Anna"
    assert speakers("export", "anna", "--out", "-") == 0
    assert speakers("forget", "anna", "--yes") == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(exported)))
    assert speakers("import", "-") == 0
    assert speakers("show", "anna") == 0


def test_export_does_not_fill_a_terminal_or_replace_what_is_no_file(
    speakers: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for out, message in (
        (tmp_path, "it is no file"),
        ("/dev/null", "it is no file"),
        (tmp_path / "gone" / "x.json", "cannot write"),
        (tmp_path / ("x" * 300), "cannot write"),
    ):
        assert speakers("export", "anna", "--out", out, "--force") == 2
        assert message in capsys.readouterr().err
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert speakers("export", "anna") == 2


def test_import_of_what_is_no_export(speakers: Call, store: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "x.json"
    assert speakers("import", file) == 2
    assert speakers("import", tmp_path) == 2
    file.write_text("{}")
    assert speakers("import", file) == 5
    assert f"affectd: {file}: no export of version 1" in capsys.readouterr().err
    assert len(names(store)) == 4


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_import_is_read_or_refused(speakers: Call, store: Path, capsys: Capture, data: bytes) -> None:
    file = store.parent / "x.json"
    file.write_bytes(data)
    assert speakers("import", file) == 5
    assert capsys.readouterr().err.count("\n") == 1


NAMES = st.text(max_size=70).filter(lambda name: not name.startswith("-")) | st.sampled_from(
    [
        "../../x",
        "'; DROP TABLE people; --",
        "Anna",
        "BO",
        "\ud800",
        "\x1b[31mred",
        "[red]x[/red]",
        "a\nb",
        "\u202eanna",
        "",
    ]
)


@pytest.mark.slow
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES, NAMES)
def test_any_name_is_found_or_refused(
    speakers: Call, store: Path, bundle_folder: Path, capsys: Capture, name: str, other: str
) -> None:
    before = len(names(store))
    for arguments in (
        ("rename", name, other),
        ("show", name, "--bundle", bundle_folder),
        ("refine", name, "--allow"),
        ("revert", name, "1", "--bundle", bundle_folder),
        ("export", name, "--out", "-"),
    ):
        assert speakers(*arguments) in (0, 2, 5)
        assert "Traceback" not in capsys.readouterr().err
    assert len(names(store)) == before


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_are_printed_on_any_terminal(
    store: Path, bundle_folder: Path, clean_environment: None, encoding: str
) -> None:
    command = [sys.executable, "-m", "edge", "speakers", "show", "Zo\xeb", "--store", str(store)]
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [*command, "--bundle", str(bundle_folder)],
        cwd=root,
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert ("Zo\xeb".encode() if encoding == "utf-8" else b"Zo\\xeb") in result.stdout
