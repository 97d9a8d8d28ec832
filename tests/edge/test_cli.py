import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge import __version__
from edge.audio import SAMPLE_RATE_HZ, read_audio
from edge.capture import devices
from edge.capture.devices import Device
from edge.errors import AffectdError, AudioDeviceError, ModelError, StoreError, UsageError
from edge.settings import SourceSettings, setting_keys
from helpers.conversation import Conversation
from helpers.signals import silence

Call = Callable[..., int]


def events_of(text: str | bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_folder_with_bad_files(
    call: Call, conversation: Conversation, bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "b.wav").write_bytes(conversation.path.read_bytes())
    (folder / "a.flac").write_text("no audio")
    (folder / "c.wav").touch()
    table = tmp_path / "emotions.csv"
    code = call("analyze", folder, tmp_path / "gone.wav", "--bundle", bundle_folder, "--csv", table)
    stdout, stderr = capsys.readouterr()
    assert code == 1
    kinds = [(event["type"], event["source"]) for event in events_of(stdout)]
    talk = ("utterance", "b.wav")
    assert kinds == [("error", "a.flac"), talk, talk, talk, ("error", "c.wav"), ("error", "gone.wav")]
    assert stderr == "affectd: 3 utterances in 4 files, 3 could not be read\n"
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["emotion"] for row in rows] == ["", *conversation.emotions, "", ""]
    assert [bool(row["error"]) for row in rows] == [True, False, False, False, True, True]
    assert float(rows[3]["angry"]) > 0.7


def test_files_of_one_room_depend_on_each_other_only_where_that_is_said(
    call: Call, conversation: Conversation, bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.wav"
    soundfile.write(other, 0.3 * read_audio(conversation.path), SAMPLE_RATE_HZ)

    def scores(*arguments: object) -> dict[str, list[dict[str, float]]]:
        assert call("analyze", "--json", "--bundle", bundle_folder, *arguments) == 0
        found: dict[str, list[dict[str, float]]] = {}
        for event in events_of(capsys.readouterr().out):
            found.setdefault(event["path"], []).append(event["scores"])
        return found

    alone, beside = scores(conversation.path), scores(other, conversation.path)
    path = str(conversation.path)
    assert beside[path] == alone[path]
    one_room, reverse = scores("--room", other, path), scores("--room", path, other)
    assert one_room[path] != alone[path]
    assert scores("--room", path)[path] != one_room[path]
    for file in (path, str(other)):
        for forth, back in zip(one_room[file], reverse[file], strict=True):
            assert forth == pytest.approx(back, abs=2e-4)


def test_why_there_is_no_utterance_is_said(
    call: Call,
    conversation: Conversation,
    bundle_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    voice, room = conversation.samples, silence(2.0, -70.0)
    recordings = {"muted": 0 * voice, "antiphase": np.stack([voice, -voice], 1), "room\n": room, "talk": voice}
    for name, samples in recordings.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, SAMPLE_RATE_HZ)
    table = tmp_path / "table.csv"
    assert call("analyze", tmp_path, "--bundle", bundle_folder, "--csv", table) == 0
    stdout, stderr = capsys.readouterr()
    said = [event for event in events_of(stdout) if event["type"] == "status"]
    assert [(event["source"], event["reason"]) for event in said] == [
        ("antiphase.wav", "no_speech"),
        ("muted.wav", "no_speech"),
        ("room\n.wav", "no_speech"),
    ]
    assert stderr == "affectd: 3 utterances in 4 files, 3 without one\n"
    messages = antiphase, muted, quiet = [event["message"] for event in said]
    with table.open(encoding="utf-8", newline="") as rows:
        assert [row["note"] for row in csv.DictReader(rows) if row["note"]] == list(messages)
    assert antiphase.startswith(f"{tmp_path}/antiphase.wav: no utterance: its 2 channels are at -")
    assert muted.endswith("muted.wav: no utterance: nothing but digital silence: is it muted, or not connected?")
    assert quiet.endswith("room\\n.wav: no utterance: no voice in it")


def test_whole_files_keep_order_and_duplicates(
    call: Call, conversation: Conversation, bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("z.wav", "a.wav")]
    for file in files:
        file.write_bytes(conversation.path.read_bytes())
    assert call("analyze", "--whole-file", "--json", "--bundle", bundle_folder, *files, files[0]) == 0
    events = events_of(capsys.readouterr().out)
    assert [event["path"] for event in events] == [str(files[0]), str(files[1]), str(files[0])]
    assert all(set(event["scores"]) == {"neutral", "happy", "angry"} for event in events)


@pytest.mark.parametrize("content", [b"RIFF\x24\0\0\0WAVE", b"fLaC", b"name,path\n", b"\0", b"# Notes\n"])
def test_a_table_replaces_a_table_and_nothing_else(
    content: bytes,
    call: Call,
    conversation: Conversation,
    bundle_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(content)
    arguments = ("analyze", conversation.path, "--bundle", bundle_folder, "--csv")
    assert call(*arguments, file) == 2
    assert f"cannot write {file}: it exists and is no CSV of affectd" in capsys.readouterr().err
    assert file.read_bytes() == content
    table = tmp_path / "table.csv"
    table.touch()
    assert call(*arguments, table) == 0
    written = table.read_bytes()
    assert call(*arguments, table) == 0
    assert table.read_bytes() == written


def test_mistakes_and_broken_models_are_told_in_one_line(
    call: Call, conversation: Conversation, bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = ("analyze", conversation.path, "--bundle", bundle_folder)
    for code, message, arguments in (
        (2, "no such file or folder", ("analyze", tmp_path / "gone.wav", "--bundle", bundle_folder)),
        (2, "no audio in", ("analyze", tmp_path, "--bundle", bundle_folder)),
        (2, "did you mean 'vad.aggressiveness'", (*good, "--set", "vad.agressiveness=3")),
        (2, "less than or equal to 3", (*good, "--set", "vad.aggressiveness=4")),
        (2, "is not SECTION.KEY=VALUE", (*good, "--set", "vad")),
        (2, "cannot read settings file", (*good, "--config", tmp_path / "gone.toml")),
        (2, "cannot write", (*good, "--csv", tmp_path)),
        (3, "no bundle folder", ("analyze", conversation.path, "--bundle", tmp_path / "gone")),
        (3, "'cuda' was wanted", (*good, "--provider", "cuda", "--set", "encoder.require_provider=true")),
    ):
        assert call(*arguments) == code, message
        stdout, stderr = capsys.readouterr()
        assert stdout == ""
        assert stderr.startswith("affectd: ")
        assert stderr.count("\n") == 1
        assert message in stderr


@pytest.mark.parametrize(
    ("kind", "code"), [(AffectdError, 1), (UsageError, 2), (ModelError, 3), (AudioDeviceError, 4), (StoreError, 5)]
)
def test_every_class_of_error_has_its_exit_code(
    kind: type[AffectdError],
    code: int,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(devices, "list_devices", _raise(kind("out of order")))
    assert call("devices") == code
    assert capsys.readouterr().err == "affectd: out of order\n"


def _raise(error: Exception) -> Callable[[], list[Device]]:
    def fail() -> list[Device]:
        raise error

    return fail


def test_a_missing_onnxruntime_says_what_to_install(
    call: Call,
    conversation: Conversation,
    bundle_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("edge.model", "edge.analyze", "edge.engine", "edge.recognizer", "edge.encoder"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert call("analyze", conversation.path, "--bundle", bundle_folder) == 3
    assert capsys.readouterr().err == "affectd: onnxruntime is not installed: pip install 'affectd[cpu]' (or [gpu])\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("anlyze x", "No such command 'anlyze' (did you mean 'analyze'?) (affectd --help)"),
        ("RUN", "No such command 'RUN' (did you mean 'run'?) (affectd --help)"),
        ("Config show", "No such command 'Config' (did you mean 'config'?) (affectd --help)"),
        ("speakers Lst", "No such command 'Lst' (did you mean 'list'?) (affectd speakers --help)"),
        ("rooms SHOW kitchen", "No such command 'SHOW' (did you mean 'show'?) (affectd rooms --help)"),
        ("qwertz", "No such command 'qwertz' (affectd --help)"),
        ("run --JSON", "No such option: --JSON (did you mean '--json'?) (affectd run --help)"),
        ("run --Sorce=x", "No such option: --Sorce (did you mean '--source'?) (affectd run --help)"),
        ("run --FAST", "No such option: --FAST (did you mean '--fast'?) (affectd run --help)"),
        ("--VERSION", "No such option: --VERSION (did you mean '--version'?) (affectd --help)"),
        ("-H", "No such option: -H (did you mean '-h'?) (affectd --help)"),
    ],
)
def test_a_typing_error_suggests_the_nearest_in_any_case(
    arguments: str, said: str, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments.split()) == 2
    assert capsys.readouterr().err == f"affectd: {said}\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ("run", "analyze", "enroll", "speakers", "devices", "doctor", "config", "Examples")),
        (("run",), ("--source", "--rate", "--realtime", "--fast", "--device", "--bundle", "--json", "arecord")),
        (("analyze",), ("PATH...", "--whole-file", "--csv", "analyze clips/ --whole-file")),
        (("run",), ("--speaker", "--store", "affectd run --speaker anna")),
        (
            ("enroll",),
            ("NAME", "PATH", "--neutral", "--labels", "--yes", "--may-refine", "--clips", "--store", "Ctrl-C"),
        ),
        (("speakers",), ("list", "show", "rename", "forget", "export", "import", "revert", "refine", "Examples")),
        (("speakers", "list"), ("must enrol again", "--store", "--bundle")),
        (("speakers", "forget"), ("--yes", "every trace")),
        (("speakers", "export"), ("--out", "--force", "in the clear")),
        (("speakers", "refine"), ("--allow", "--deny")),
        (("devices",), ("--json", "affectd run --device")),
        (("doctor",), ("--provider", "Exit code 1")),
        (("config",), ("show",)),
        (("config", "show"), ("AFFECTD_SECTION_KEY", "--set")),
    ],
)
def test_help_teaches(
    command: tuple[str, ...], words: tuple[str, ...], call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*command, "--help") == 0
    text = capsys.readouterr().out
    for word in ("Usage: affectd", *words):
        assert word in text


def test_the_version_is_the_project_s(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out == f"affectd {__version__}\n"


def test_devices_are_listed(call: Call, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    microphones = [Device(3, "USB [Mic]", 48_000, 1, is_default=True, host_api="ALSA")]
    monkeypatch.setattr(devices, "list_devices", lambda: microphones)
    assert call("devices", "--json") == 0
    (device,) = json.loads(capsys.readouterr().out)
    assert (device["index"], device["name"], device["rate_hz"], device["is_default"]) == (3, "USB [Mic]", 48_000, True)
    assert call("devices") == 0
    assert "USB [Mic] (default)" in capsys.readouterr().out
    microphones.clear()
    assert call("devices") == 0
    assert capsys.readouterr().out == "no microphones\n"


def test_the_doctor_finds_what_is_broken(
    call: Call, bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("doctor", "--json", "--source", "-", "--bundle", bundle_folder) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert checks["self-test"]["verdict"] == "good"
    assert call("doctor", "--bundle", tmp_path / "gone") == 1
    text = capsys.readouterr().out
    assert "✓" in text
    assert "✗" in text


def test_config_shows_where_each_value_is_from(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config-home" / "affectd" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[vad]\naggressiveness = 1\ngate_dbfs = -50\n")
    monkeypatch.setenv("AFFECTD_VAD_GATE_DBFS", "-40")
    assert call("config", "show", "--json", "--set", "segmenter.max_s=5") == 0
    rows = json.loads(capsys.readouterr().out)
    assert list(rows) == setting_keys()
    assert (rows["vad.aggressiveness"]["value"], rows["vad.aggressiveness"]["origin"]) == (1, f"file {file}")
    assert (rows["vad.gate_dbfs"]["value"], rows["vad.gate_dbfs"]["origin"]) == (
        -40,
        "environment AFFECTD_VAD_GATE_DBFS",
    )
    assert (rows["segmenter.max_s"]["value"], rows["segmenter.max_s"]["origin"]) == (5, "command line")
    assert rows["capture.source"]["origin"] == "default"
    assert all(row["description"] for row in rows.values())
    assert call("config", "show") == 0
    assert "vad.above_noise_db" in capsys.readouterr().out


@pytest.mark.parametrize("address", ["nonsense", "0.0.0.0:8377"])
def test_a_dashboard_that_cannot_be_is_not_announced(
    call: Call, address: str, bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", "--dashboard", "--bundle", bundle_folder, "--set", f"web.address={address}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "web.address" in line


@pytest.mark.parametrize("key", ["capture.token", "sources.0.token", "web.token", "mqtt.password"])
def test_config_shows_no_secret(call: Call, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ((), ("--json",)):
        assert call("config", "show", "--set", f"{key}=hush", *options) == 0
        shown = capsys.readouterr().out
        assert "hush" not in shown
        assert "(set)" in shown


def test_config_shows_the_entries_of_lists(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "two.toml"
    file.write_text("[[sources]]\nname = 'hall'\n[[sources]]\nspeakers = ['anna']\n")
    monkeypatch.setenv("AFFECTD_SOURCES_0_DEVICE", "USB")
    assert call("config", "show", "--json", "--config", file) == 0
    rows = json.loads(capsys.readouterr().out)
    entries = [f"sources.{number}.{key}" for number in (0, 1) for key in SourceSettings.model_fields]
    assert list(rows) == [*setting_keys(), *entries]
    assert (rows["sources.0.device"]["value"], rows["sources.0.device"]["origin"]) == (
        "USB",
        "environment AFFECTD_SOURCES_0_DEVICE",
    )
    assert rows["sources.1.speakers"]["value"] == ["anna"]
    assert call("config", "show", "--config", file) == 0
    assert "sources.1.realtime" in capsys.readouterr().out
