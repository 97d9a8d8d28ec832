import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import Bundle
from edge.room import Room
from edge.room_store import RoomStore
from edge.settings import RoomSettings, Settings, SpeakerSettings
from edge.vad import to_pcm
from helpers.signals import silence, speech_like

pytestmark = pytest.mark.slow

Call = Callable[..., int]
Capture = pytest.CaptureFixture[str]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def store(tmp_path: Path, bundle: Bundle) -> RoomStore:
    """Two rooms of the tiny bundle, and one of another model."""
    store = RoomStore(Settings(speakers=SpeakerSettings(store=str(tmp_path / "store"))))
    room = Room(bundle.population, RoomSettings())
    for _ in range(12):
        room.update(np.array([0.08, 0.01, 1], np.float32), np.array([0.75, 0.2, 0.05], np.float32))
    store.save("USB Audio", bundle, room)
    store.save("kitchen", bundle, room)
    path = store.path("USB Audio", bundle.encoder_hash)
    (store.folder / "other.safetensors").write_bytes(path.read_bytes().replace(bundle.encoder_hash.encode(), b"f" * 64))
    return store


@pytest.fixture
def rooms(call: Call, store: RoomStore) -> Call:
    """Run ``affectd rooms`` with that store."""
    return lambda command, *arguments: call("rooms", command, "--store", store.folder.parent, *arguments)


def listed(rooms: Call, capture: Capture, *arguments: object) -> list[dict[str, Any]]:
    capture.readouterr()
    assert rooms("list", "--json", *arguments) == 0
    found: list[dict[str, Any]] = json.loads(capture.readouterr().out)
    return found


def test_list_says_how_well_each_is_known(rooms: Call, bundle_folder: Path, capsys: Capture) -> None:
    found = listed(rooms, capsys, "--bundle", bundle_folder)
    assert sorted((room["source"], room["for_this_model"]) for room in found) == [
        ("USB Audio", False),
        ("USB Audio", True),
        ("kitchen", True),
    ]
    for room in found:
        assert 10 < room["utterances"] < 12
        assert (room["share"] is not None) == room["for_this_model"]
    assert rooms("list", "--bundle", bundle_folder) == 0
    text = capsys.readouterr().out
    assert "kitchen" in text
    assert "another model" in text
    assert " 5%" in text


def test_list_without_rooms(call: Call, tmp_path: Path, bundle_folder: Path, capsys: Capture) -> None:
    assert call("rooms", "list", "--store", tmp_path / "none", "--bundle", bundle_folder) == 0
    assert "no room is remembered in" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_list_and_show_work_without_a_bundle(rooms: Call, tmp_path: Path, capsys: Capture) -> None:
    found = listed(rooms, capsys, "--bundle", tmp_path / "gone")
    assert {room["for_this_model"] for room in found} == {None}
    assert rooms("show", "kitchen", "--bundle", tmp_path / "gone") == 0
    assert "less is known of the rooms: no bundle folder" in capsys.readouterr().err


def test_list_leaves_out_what_is_damaged(
    rooms: Call, store: RoomStore, bundle_folder: Path, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    (store.folder / "broken.safetensors").write_bytes(b"broken")
    assert len(listed(rooms, capsys, "--bundle", bundle_folder)) == 3
    assert "broken.safetensors: is no room" in caplog.text


def test_list_and_reset_work_without_the_key(
    rooms: Call, store: RoomStore, bundle_folder: Path, capsys: Capture
) -> None:
    (store.folder.parent / "store.key").unlink()
    found = listed(rooms, capsys, "--bundle", bundle_folder)
    assert [room["share"] for room in found] == [None] * 3
    assert rooms("show", "kitchen", "--bundle", bundle_folder) == 0
    stdout, stderr = capsys.readouterr()
    assert "less is known of the room of kitchen" in stderr
    assert "the key of the store is missing" in stderr
    assert "12" in stdout or "11" in stdout
    assert rooms("reset", "kitchen", "--yes") == 0
    assert not (store.folder.parent / "store.key").exists()


def test_a_name_that_is_not_utf8_is_found_as_it_is_printed(
    rooms: Call, store: RoomStore, bundle: Bundle, bundle_folder: Path
) -> None:
    store.save("mic \udcff", bundle, store.load("kitchen", bundle, RoomSettings()))
    assert rooms("show", "mic \udcff", "--bundle", bundle_folder) == 0
    assert rooms("show", r"mic \udcff", "--bundle", bundle_folder) == 0


def test_show_says_what_was_heard(rooms: Call, bundle_folder: Path, capsys: Capture) -> None:
    assert rooms("show", "kitchen", "--bundle", bundle_folder) == 0
    text = capsys.readouterr().out
    for part in ("kitchen", "tiny 0", "11", " 5%", "neutral 75%, happy 20%, angry 5%", "of a typical training corpus"):
        assert part in text
    assert rooms("show", "kitchen", "--json", "--bundle", bundle_folder) == 0
    (room,) = json.loads(capsys.readouterr().out)
    assert room["labels"] == pytest.approx({"neutral": 0.75, "happy": 0.2, "angry": 0.05}, abs=1e-3)


def test_a_typo_is_answered_with_the_nearest_name(rooms: Call, bundle_folder: Path, capsys: Capture) -> None:
    for command in ("show", "reset"):
        assert rooms(command, "kichen") == 2
        assert "no room of 'kichen' is remembered in" in (error := capsys.readouterr().err)
        assert error.endswith("(did you mean 'kitchen'?)\n")


def test_reset_needs_an_answer(rooms: Call, store: RoomStore, bundle_folder: Path, capsys: Capture) -> None:
    assert rooms("reset", "USB Audio") == 2
    assert "cannot be undone: run this on a terminal, or with --yes" in capsys.readouterr().err
    assert len(store.rooms()) == 3
    assert rooms("reset", "USB Audio", "--yes", "--json") == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout) == {"source": "USB Audio", "reset": 2}
    assert stderr == "affectd: the room of USB Audio is forgotten\n"
    assert [stored.source for stored in store.rooms()] == ["kitchen"]


def test_reset_of_all_takes_the_damaged_ones_too(rooms: Call, store: RoomStore, capsys: Capture) -> None:
    (store.folder / "broken.safetensors").write_bytes(b"broken")
    for arguments in ((), ("kitchen", "--all")):
        assert rooms("reset", *arguments, "--yes") == 2
        assert "reset needs the NAME of a source, or --all" in capsys.readouterr().err
    assert rooms("reset", "--all", "--yes", "--json") == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout) == {"source": None, "reset": 4}
    assert stderr == "affectd: every room is forgotten\n"
    assert list(store.folder.iterdir()) == []


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, 2), (b"n\n", 1, 3)])
def test_reset_asks_at_a_terminal(
    clean_environment: None, store: RoomStore, answer: bytes, code: int, left: int
) -> None:
    terminal, side = pty.openpty()
    arguments = ["rooms", "reset", "kitchen", "--store", str(store.folder.parent)]
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", *arguments], stdin=side, stderr=side, stdout=subprocess.PIPE
    )
    os.close(side)
    os.write(terminal, answer)
    process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == code
    assert len(store.rooms()) == left


def test_run_learns_a_room_and_remembers_it(
    start: Start, rooms: Call, tmp_path: Path, bundle_folder: Path, capsys: Capture
) -> None:
    speech = np.concatenate(
        [silence(0.5), *(part for seed in (1, 2, 3) for part in (speech_like(1, seed), silence(0.8)))]
    )
    shares = []
    for live in ("--realtime", "--realtime", "--fast"):
        process = start("run", "--source", "-", live, "--json", "--store", tmp_path / "run", "--bundle", bundle_folder)
        stdout, stderr = process.communicate(to_pcm(speech))
        assert process.returncode == 0, stderr
        events = [json.loads(line) for line in stdout.splitlines()]
        shares.append([event["room"] for event in events if event["type"] == "utterance"])
    first, second, recording = shares
    assert first == recording == sorted(first)
    assert first[0] == 0 < first[-1] < second[0]
    (stored,) = RoomStore(Settings(speakers=SpeakerSettings(store=str(tmp_path / "run")))).rooms()
    assert stored.source == "-"
