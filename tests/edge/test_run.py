import csv
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge.audio import SAMPLE_RATE_HZ
from edge.vad import to_pcm
from helpers.conversation import Conversation
from helpers.signals import silence, speech_like
from helpers.virtual_microphone import VirtualMicrophone

pytestmark = pytest.mark.slow

# Not getrusage: its peak includes the test process that this one was forked from.
REPORTING_PEAK = """
import atexit, pathlib, sys
atexit.register(lambda: print(pathlib.Path("/proc/self/status").read_text(), file=sys.stderr))
from edge.cli.app import main
main()
"""

Start = Callable[..., "subprocess.Popen[bytes]"]


def events_of(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def utterances_of(events: list[dict[str, Any]]) -> list[str]:
    return [event["emotion"] for event in events if event["type"] == "utterance"]


def test_a_file_becomes_json_lines(start: Start, conversation: Conversation, bundle_folder: Path) -> None:
    process = start("run", "--source", conversation.path, "--fast", "--json", "--bundle", bundle_folder)
    stdout, stderr = process.communicate()
    ready, *events, stopped = events_of(stdout)
    assert process.returncode == 0
    assert ready["message"] == "ready: bundle tiny 0 on CPUExecutionProvider; nobody enrolled"
    assert utterances_of(events) == list(conversation.emotions)
    assert [event["type"] for event in events] == ["speech_start", "provisional", "utterance"] * 3
    assert [event["id"] for event in events] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert all(event["schema"] == 2 and event["source"] == "conversation.wav" for event in events)
    assert stopped["message"] == "stopped"
    (summary,) = stderr.decode().splitlines()
    assert summary.startswith("affectd: 3 utterances in 7.1 s of audio, latency from end of speech p50 5")


def test_several_sources_and_outputs_at_once(
    start: Start, conversation: Conversation, bundle_folder: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    file, table = tmp_path / "events.jsonl", tmp_path / "events.csv"
    settings.write_text(f"""
[[sources]]
name = "hall"
source = "{conversation.path}"
realtime = false
[[sources]]
source = "-"
realtime = false
[[outputs]]
path = "{file}"
[[outputs]]
type = "csv"
path = "{table}"
[[outputs]]
type = "table"
""")
    several = ("run", "--config", settings, "--bundle", bundle_folder)
    process = start(*several)
    stdout, stderr = process.communicate(to_pcm(conversation.samples / 4))
    assert process.returncode == 0, stderr
    assert b"\ntime " in b"\n" + stdout
    events = events_of(file.read_bytes())
    for source in ("hall", "-"):
        own = [event for event in events if event["source"] == source]
        assert [event["type"] for event in own if "id" not in event] == ["status", "status"]
        assert len(utterances_of(own)) == 3
    with table.open(newline="") as rows:
        assert sorted(row["path"] for row in csv.DictReader(rows)) == ["-"] * 3 + ["hall"] * 3
    assert b"6 utterances in 14.2 s of audio" in stderr
    process = start(
        "run", "--config", settings, "--source", conversation.path, "--fast", "--json", "--bundle", bundle_folder
    )
    stdout, _ = process.communicate()
    assert {event["source"] for event in events_of(stdout)} == {"conversation.wav"}


@pytest.mark.parametrize("speed", ["--fast", "--realtime"])
def test_pcm_on_standard_input(speed: str, start: Start, conversation: Conversation, bundle_folder: Path) -> None:
    process = start("run", "--source", "-", "--rate", 16000, speed, "--bundle", bundle_folder)
    stdout, _ = process.communicate(to_pcm(conversation.samples / 4))
    assert process.returncode == 0
    assert len(utterances_of(events_of(stdout))) == 3


def test_a_microphone_that_was_muted_is_reported(start: Start, bundle_folder: Path, conversation: Conversation) -> None:
    process = start("run", "--source", "-", "--fast", "--bundle", bundle_folder)
    voice = to_pcm(conversation.samples / 4)
    stdout, _ = process.communicate(voice + bytes(2 * 20 * SAMPLE_RATE_HZ) + voice)
    said = [event["reason"] for event in events_of(stdout) if event["type"] == "status"]
    assert said == ["ready", "digital_silence", "recovered", "stopped"]
    assert len(utterances_of(events_of(stdout))) == 6
    process = start("run", "--source", "-", "--fast", "--bundle", bundle_folder, "--set", "capture.report_s=0")
    stdout, _ = process.communicate(bytes(2 * 20 * SAMPLE_RATE_HZ))
    assert [event["reason"] for event in events_of(stdout)] == ["ready", "no_speech", "stopped"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_cleanly(number: int, start: Start, bundle_folder: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    turn = np.concatenate([silence(0.2), speech_like(0.4), silence(0.6)])
    soundfile.write(long, np.tile(turn, 500), SAMPLE_RATE_HZ)
    process = start("run", "--source", long, "--realtime", "--json", "--bundle", bundle_folder)
    events = []
    while not utterances_of(events):
        events += events_of(process.stdout.readline())
    process.send_signal(number)
    stdout, stderr = process.communicate()
    assert process.returncode == 0
    assert events_of(stdout)[-1]["message"] == "stopped"
    (summary,) = stderr.decode().splitlines()
    assert "utterances in" in summary


@pytest.mark.parametrize("speed", ["--fast", "--realtime"])
def test_a_signal_ends_a_run_whose_standard_input_is_silent(speed: str, start: Start, bundle_folder: Path) -> None:
    process = start("run", "--source", "-", speed, "--json", "--bundle", bundle_folder)
    process.stdin.write(bytes(16_000))
    process.stdin.flush()
    assert events_of(process.stdout.readline())[0]["message"].startswith("ready")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert process.stderr.read().startswith(b"affectd: 0 utterances in ")


def test_a_reader_that_has_enough_ends_a_run_quietly(start: Start, bundle_folder: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    turn = np.concatenate([silence(0.2), speech_like(0.4), silence(0.6)])
    soundfile.write(long, np.tile(turn, 300), SAMPLE_RATE_HZ)
    process = start("run", "--source", long, "--fast", "--json", "--bundle", bundle_folder)
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate()
    assert stderr == b""


def test_the_table_of_an_analysis_is_complete_although_the_reader_had_enough(
    start: Start, conversation: Conversation, bundle_folder: Path, tmp_path: Path
) -> None:
    table, clip = tmp_path / "emotions.csv", tmp_path / "clip.wav"
    soundfile.write(clip, conversation.samples[: SAMPLE_RATE_HZ // 2], SAMPLE_RATE_HZ)
    files = [clip] * 300  # whose events are more than a pipe holds
    process = start("analyze", *files, "--whole-file", "--json", "--csv", table, "--bundle", bundle_folder)
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert stderr == b""
    assert len(table.read_text().splitlines()) == 1 + len(files)


def test_a_terminal_gets_a_table(start: Start, conversation: Conversation, bundle_folder: Path) -> None:
    terminal, side = pty.openpty()
    process = start("run", "--source", conversation.path, "--fast", "--bundle", bundle_folder, stdout=side)
    os.close(side)
    process.wait()
    text = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "speaker   emotion" in text
    assert "━" in text
    assert "{" not in text


def test_a_terminal_shows_that_the_microphone_hears_somebody(
    start: Start, conversation: Conversation, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal, side = pty.openpty()
    process = start("run", "--source", conversation.path, "--realtime", "--bundle", bundle_folder, stdout=side)
    os.close(side)
    text = b""
    with suppress(OSError):  # the other side is closed
        while data := os.read(terminal, 10_000):
            text += data
    os.close(terminal)
    _, stderr = process.communicate()
    assert process.returncode == 0
    assert b"3 utterances" in stderr
    shown = re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).split("\r\x1b[2K")
    meters = [row for row in shown if re.fullmatch(r"(\S+… +)?[━╌]{10} (voice|     ) *-\d+ dBFS *", row)]
    before, speaking = ([row for row in meters if ("…" in row) == begun] for begun in (False, True))
    assert any("voice" not in row for row in before)
    assert any("voice" in row for row in speaking)
    assert sum(bool(re.search(r" ms.*\r\n", row)) for row in shown) == 3, "final rows stay"
    assert shown[-1] == "stopped\r\n", "and the meter does not"


@pytest.mark.slow
def test_memory_stays_flat_over_ten_minutes(
    start: Start, conversation: Conversation, bundle_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 1) as file:
        while file.frames < 600 * SAMPLE_RATE_HZ:
            file.write(conversation.samples / 4)
    arguments = ("run", "--source", path, "--fast", "--json", "--bundle", bundle_folder)
    process = start(*arguments, program=("-c", REPORTING_PEAK))
    stdout, stderr = process.communicate()
    assert process.returncode == 0
    assert len(utterances_of(events_of(stdout))) > 200
    (peak_kb,) = (line.split()[1] for line in stderr.splitlines() if line.startswith(b"VmHWM:"))
    assert int(peak_kb) / 1024 < 300


def test_the_virtual_microphone_is_heard(
    virtual_microphone: VirtualMicrophone, start: Start, bundle_folder: Path, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, np.concatenate([silence(0.3), speech_like(1.2), silence(1.0)]), SAMPLE_RATE_HZ)
    process = start("run", "--source", "mic", "--json", "--bundle", bundle_folder)
    (ready,) = events_of(process.stdout.readline())
    assert ready["message"].startswith("ready")
    virtual_microphone.play(clip)
    event = {}
    while event.get("type") != "utterance":
        (event,) = events_of(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert event["end_s"] - event["start_s"] == pytest.approx(1.2, abs=0.3)
    assert event["latency_ms"]["endpoint"] == pytest.approx(500, abs=31)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [("gone.wav", 1, "gone.wav: no such file"), ("mic", 4, "microphone")],
)
def test_a_source_that_does_not_open(source: str, code: int, message: str, start: Start, bundle_folder: Path) -> None:
    process = start("run", "--source", source, "--device", "no such thing", "--fast", "--bundle", bundle_folder)
    stdout, stderr = process.communicate()
    assert process.returncode == code
    assert stdout == b""
    assert message in stderr.decode()
    assert stderr.count(b"\n") == 1


def test_debug_shows_the_traceback(start: Start, bundle_folder: Path) -> None:
    process = start("run", "--source", "gone.wav", "--fast", "--debug", "--bundle", bundle_folder)
    _, stderr = process.communicate()
    assert b"Traceback" in stderr
    assert b"edge.errors.AudioFileError: gone.wav: no such file" in stderr
