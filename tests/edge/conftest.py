"""Fixtures of the device side: a conversation to listen to, and the command that listens."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.cli.app import main
from helpers.calling import exit_code
from helpers.conversation import Conversation, record

ROOT = Path(__file__).resolve().parents[2]
HANGS_S = 60


@pytest.fixture(scope="session")
def conversation(tmp_path_factory: pytest.TempPathFactory) -> Conversation:
    """A recording of three utterances that the tiny bundle tells apart."""
    return record(tmp_path_factory.mktemp("audio"))


@pytest.fixture
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the developer's own."""
    for name in [name for name in os.environ if name.startswith("AFFECTD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "dumb")


Start = Callable[..., "subprocess.Popen[bytes]"]


HEED_HANGUP = (
    "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)
"""SIGHUP is taken as by a service, also where the tests themselves run under nohup."""


@pytest.fixture
def start(clean_environment: None) -> Iterator[Start]:
    """Start ``affectd`` as a process of its own; it is killed when it hangs and at the end of the test."""
    started: list[tuple[subprocess.Popen[bytes], threading.Timer]] = []

    def start(
        *arguments: object,
        program: tuple[str, ...] = ("-m", "edge"),
        stdout: int = subprocess.PIPE,
        without_terminal: bool = False,
    ) -> subprocess.Popen[bytes]:
        heeding = [sys.executable, "-c", HEED_HANGUP] if without_terminal else []
        process = subprocess.Popen(
            [*heeding, sys.executable, *program, *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            start_new_session=without_terminal,
        )
        timer = threading.Timer(HANGS_S, process.kill)
        timer.start()
        started.append((process, timer))
        return process

    yield start
    for process, timer in started:
        timer.cancel()
        process.kill()
        process.communicate()


Call = Callable[..., int]


@pytest.fixture
def call(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd`` inside the test's process and return its exit code."""

    def call(*arguments: object) -> int:
        return exit_code(main, monkeypatch, "affectd", *arguments)

    return call
