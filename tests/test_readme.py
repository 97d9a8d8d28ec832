"""Every affectd command of README does what it says, as a reader would type it, on files in place of a microphone."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio import SAMPLE_RATE_HZ

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
COMMANDS = [
    re.split(r"\s{2,}#", line.strip())[0].removeprefix("$ ")
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    if re.match(r" {4}(\$ |arecord .*\| )?affectd ", line)
]
ELSEWHERE = re.compile(r"--bundle bundles/mine|affectd service ")
"""What needs the reader's own corpus is tested with `affectd-calibrate init`, what needs systemd with its unit."""
LIMIT_S = 120.0
ROUNDS = " --rounds 1"
"""What a profile is told beside, which takes the better part of a minute in five rounds."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A reader's folder with recordings, and an environment in which the microphone is a file that plays at once."""
    here = tmp_path_factory.mktemp("reader")
    clips = sorted((EXAMPLES / "people" / "Ann").iterdir())
    for folder in ("recordings", "clips"):
        (here / folder).mkdir()
        for clip in clips[:4]:
            shutil.copy(clip, here / folder)
    shutil.copytree(EXAMPLES, here / "examples")
    shutil.copy(EXAMPLES / "conversation.flac", here / "talk.flac")
    spoken = np.concatenate([np.pad(soundfile.read(clip, dtype="float32")[0], (8_000, 16_000)) for clip in clips])
    soundfile.write(here / "microphone.wav", spoken, SAMPLE_RATE_HZ)
    programs = here / "bin"
    programs.mkdir()
    for name, text in (
        ("affectd", f'exec "{sys.executable}" -m edge "$@"'),
        ("arecord", f'cat "{here / "microphone.wav"}"'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    own = {name: value for name, value in os.environ.items() if not name.startswith("AFFECTD_")}
    folders = {f"XDG_{kind}_HOME": str(here / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE", "STATE")}
    environment = own | folders | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "AFFECTD_CAPTURE_SOURCE": str(here / "microphone.wav"),
        "AFFECTD_CAPTURE_REALTIME": "false",
        "AFFECTD_ENCODER_BUNDLE": "nano",
        "TERM": "xterm",
        "COLUMNS": "120",
    }  # fmt: skip
    return here, environment


def typed(command: str, here: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Return the exit code and all that a terminal shows of a command; whatever it asks is answered with yes."""
    process_id, terminal = pty.fork()
    if process_id == 0:
        os.chdir(here)
        os.execvpe("/bin/sh", ["/bin/sh", "-c", command], environment)
    shown, asked, until_s = b"", False, time.monotonic() + LIMIT_S
    while True:
        if not select.select([terminal], [], [], max(0.0, until_s - time.monotonic()))[0]:
            os.kill(process_id, signal.SIGKILL)
            break
        try:
            piece = os.read(terminal, 65_536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
        if b"[y/N]" in shown and not asked:
            asked = True
            os.write(terminal, b"y\n")
    code = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
    os.close(terminal)
    return code, shown.decode(errors="replace")


def test_every_command_is_found() -> None:
    assert len(COMMANDS) >= 18
    assert {command.split()[1] for command in COMMANDS if command.startswith("affectd ")} >= {
        "run", "analyze", "demo", "enroll", "speakers", "rooms", "doctor", "profile", "config"
    }  # fmt: skip


@pytest.mark.parametrize("command", [command for command in dict.fromkeys(COMMANDS) if not ELSEWHERE.search(command)])
def test_a_command_of_the_readme_works(command: str, reader: tuple[Path, dict[str, str]]) -> None:
    here, environment = reader
    if "--speaker Ann" in command or "forget Ann" in command:
        subprocess.run(
            ["affectd", "enroll", "Ann", "clips/", "--yes"], cwd=here, env=environment, check=True, capture_output=True
        )
    is_profile = command.startswith("affectd profile")
    if is_profile:  # which plays what is in examples/
        here = here / "brief"
        (here / "examples").mkdir(parents=True)
        shutil.copy(next((EXAMPLES / "people" / "Ann").iterdir()), here / "examples")
    code, shown = typed(f"{command}{ROUNDS * is_profile}", here, environment)
    assert code == 0, shown
    assert "Traceback" not in shown
    for written in re.findall(r"\S+\.(?:csv|html)\b", command):
        assert (here / written).stat().st_size > 0
