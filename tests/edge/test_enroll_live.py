"""Enrolment in processes of its own: streams, terminals, interruptions."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from edge.errors import ExitCode
from edge.people.store import SpeakerStore
from edge.people.voice_profiles import estimate_voice_profile, voice_profile_of
from edge.room import Room
from edge.room_store import RoomStore
from edge.settings import Settings, SpeakerSettings
from edge.vad import to_pcm
from helpers.signals import silence, speech_like
from helpers.virtual_microphone import VirtualMicrophone

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HANGS_S = 60
Start = Callable[..., "subprocess.Popen[bytes]"]


def turns(count: int) -> Waveform:
    """Utterances of 1.2 s, each a little louder, with pauses of 0.8 s."""
    parts = [silence(0.3)]
    for seed in range(count):
        parts += [(0.5 + 0.05 * seed) * speech_like(1.2, seed), silence(0.8, seed=seed)]
    return np.concatenate(parts)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def enroll(start: Start, store: Path, bundle_folder: Path) -> Start:
    """Start ``affectd enroll Anna`` with the tiny bundle."""
    return lambda *arguments: start("enroll", "Anna", "--store", store, "--bundle", bundle_folder, *arguments)


def test_a_stream_is_enrolled_until_it_is_enough(enroll: Start, store: Path, bundle: Bundle) -> None:
    process = enroll("--source", "-", "--fast", "--yes", "--clips", 3, "--seconds", 4, "--json")
    stdout, stderr = process.communicate(to_pcm(turns(6)))
    assert process.returncode == 0
    result = json.loads(stdout)
    assert (result["added"], result["revision"], result["left_out"]) == (3, 1, [])
    lines = stderr.decode().splitlines()
    assert lines[0].startswith("affectd: - at 0.3 s: kept 1.")
    assert len([line for line in lines if ": kept " in line]) == 3
    with SpeakerStore.open(store) as opened:
        assert len(opened.clips(opened.person("Anna"), bundle.encoder_hash)) == 3


def test_a_source_that_does_not_open_enrols_nothing(enroll: Start, store: Path) -> None:
    process = enroll("--source", "gone.wav", "--fast", "--yes")
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert b"left out gone.wav: no such file" in stderr
    process = enroll("--source", "mic", "--device", "no such thing", "--yes")
    _, stderr = process.communicate()
    assert process.returncode == 4
    assert stderr.count(b"\n") == 1
    assert not store.exists()


@pytest.mark.parametrize("kept", [1, 7])
def test_a_kill_loses_at_most_the_clip_in_hand(enroll: Start, store: Path, bundle: Bundle, kept: int) -> None:
    talk = to_pcm(turns(30))
    process = enroll("--source", "-", "--fast", "--yes", "--clips", 50)
    feeding = threading.Thread(target=_feed, args=(process, talk))
    feeding.start()
    for _ in range(kept):
        assert b": kept " in process.stderr.readline()
    process.kill()
    said = kept + process.stderr.read().count(b": kept ")
    assert process.wait() == -signal.SIGKILL
    feeding.join()
    with SpeakerStore.open(store) as opened:
        anna = opened.person("Anna")
        clips = opened.clips(anna, bundle.encoder_hash)
        assert said <= len(clips) <= said + 1
        assert opened.voice_profile(anna, bundle.encoder_hash) is None
        meanwhile = voice_profile_of(opened, anna, bundle)
    assert meanwhile is not None
    np.testing.assert_allclose(meanwhile.centre, estimate_voice_profile(bundle, clips).centre)
    process = enroll("--source", "-", "--fast", "--json", "--clips", 50)
    stdout, _ = process.communicate(talk)
    result = json.loads(stdout)
    assert process.returncode == 0
    assert (result["added"], result["repeated"], result["clips"]) == (30 - len(clips), len(clips), 30)
    assert result["revision"] == 1


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    with contextlib.suppress(OSError):
        process.stdin.write(data)
        process.stdin.flush()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_there_is(enroll: Start, store: Path, bundle: Bundle, number: int) -> None:
    process = enroll("--source", "-", "--fast", "--yes", "--json")
    process.stdin.write(to_pcm(turns(2)))
    process.stdin.flush()
    for _ in range(2):
        assert b": kept " in process.stderr.readline()
    process.send_signal(number)
    process.wait()  # although standard input is still open
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["clips"] == 2
    with SpeakerStore.open(store) as opened:
        assert opened.voice_profile(opened.person("Anna"), bundle.encoder_hash) is not None


def test_an_interrupt_between_files_keeps_what_there_is(enroll: Start, store: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.tile(turns(8), 40), SAMPLE_RATE_HZ, "FLOAT")
    process = enroll(tmp_path / "long.wav", "--yes", "--json")
    while not (store / "speakers.db").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate()
    assert process.returncode == 0
    assert 1 <= json.loads(stdout)["clips"] <= 320


def test_the_virtual_microphone_enrols(virtual_microphone: VirtualMicrophone, enroll: Start, tmp_path: Path) -> None:
    talk = tmp_path / "talk.wav"
    soundfile.write(talk, turns(3), SAMPLE_RATE_HZ)
    process = enroll("--yes", "--json", "--clips", 2, "--seconds", 1)
    playing = threading.Thread(target=_play_until_over, args=(virtual_microphone, talk, process))
    playing.start()
    stdout, stderr = process.communicate()
    playing.join()
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["added"] == 2


def _play_until_over(microphone: VirtualMicrophone, talk: Path, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        microphone.play(talk)


class Terminal:
    """A process whose input and messages are a terminal, for a person to talk to."""

    def __init__(self, *arguments: object) -> None:
        self._side, side = pty.openpty()
        command = [sys.executable, "-m", "edge", *map(str, arguments)]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=side, stderr=side, stdout=subprocess.PIPE, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(side)
        self.text = ""

    def until(self, pattern: str) -> None:
        """Wait until the screen has shown this."""
        give_up_s = time.monotonic() + HANGS_S
        while not re.search(pattern, self.text):
            assert time.monotonic() < give_up_s, self.text
            if select.select([self._side], [], [], 0.1)[0]:
                self._read()
            elif self.process.poll() is not None:
                pytest.fail(self.text)

    def type(self, text: str) -> None:
        os.write(self._side, text.encode())

    def finish(self) -> tuple[int, bytes]:
        """Wait for the end; return the exit code and the standard output."""
        while self._read():
            pass
        stdout = self.process.stdout.read()
        code = self.process.wait(HANGS_S)
        os.close(self._side)
        return code, stdout

    def _read(self) -> bool:
        try:
            data = os.read(self._side, 65_536)
        except OSError:  # the other side is closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


def test_at_a_terminal_somebody_is_asked_and_guided(
    clean_environment: None, store: Path, bundle_folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    talk = tmp_path / "talk.wav"
    soundfile.write(talk, turns(4), SAMPLE_RATE_HZ, "FLOAT")
    terminal = Terminal(
        "enroll", "Anna", "--store", store, "--bundle", bundle_folder, "--source", talk, "--clips", 3, "--seconds", 1
    )
    terminal.until(r"Does Anna agree\? \[y/N\]")
    assert f"in {store}, encrypted" in terminal.text
    assert "affectd speakers forget Anna" in terminal.text
    assert not store.exists()
    terminal.type("y\n")
    terminal.until("Read this aloud, or say what you like")
    terminal.until(r"level .*━")
    terminal.until("2 of 3 utterances")
    code, stdout = terminal.finish()
    assert code == 0
    assert b"Anna" in stdout
    assert "Traceback" not in terminal.text
    with SpeakerStore.open(store) as opened:
        person = opened.person("Anna")
        assert person.consent.how == "asked"
        assert len(opened.clips(person, bundle.encoder_hash)) == 3


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04", "\x03"])
def test_a_no_writes_nothing(clean_environment: None, store: Path, bundle_folder: Path, answer: str) -> None:
    terminal = Terminal("enroll", "Anna", "--store", store, "--bundle", bundle_folder, "--source", "mic")
    terminal.until(r"Does Anna agree\?")
    if answer == "\x03":
        terminal.process.send_signal(signal.SIGINT)
    else:
        terminal.type(answer)
    code, stdout = terminal.finish()
    interrupted = answer == "\x03"
    assert (code, stdout) == (ExitCode.INTERRUPTED if interrupted else ExitCode.FAILED, b"")
    assert ("Anna has not agreed, so nothing was kept" in terminal.text) is not interrupted
    assert "Traceback" not in terminal.text
    assert not store.exists()


@pytest.mark.parametrize("known", [True, False])
def test_the_room_of_a_live_source_is_recorded_with_the_profile(
    enroll: Start, store: Path, bundle: Bundle, known: bool
) -> None:
    settings = Settings(speakers=SpeakerSettings(store=str(store)))
    room = Room(bundle.population, settings.room)
    if known:
        for _ in range(30):
            room.update(np.array([0.07, 0.01, 1], np.float32), np.full(3, 1 / 3, np.float32))
        RoomStore(settings).save("-", bundle, room)
    process = enroll("--source", "-", "--yes", "--clips", 2, "--seconds", 1, "--json")
    _, stderr = process.communicate(to_pcm(turns(3)))
    assert process.returncode == 0, stderr
    with SpeakerStore.open(store) as opened:
        profile = voice_profile_of(opened, opened.person("Anna"), bundle)
    assert profile is not None
    if known:
        assert profile.room == pytest.approx(room.mean)
        assert profile.own is not None
    else:
        assert (profile.room, profile.own) == (None, None)
