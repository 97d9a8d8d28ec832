"""Raw audio is on the disk when somebody asks for it, and never otherwise."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from helpers.conversation import Conversation

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[bytes]"]


def test_utterances_are_written_where_they_are_asked_for(
    start: Start, conversation: Conversation, bundle_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "audio"
    process = start(
        "run", "--source", conversation.path, "--fast", "--json", "--bundle", bundle_folder, "--debug-audio", folder
    )
    _, stderr = process.communicate()
    assert process.returncode == 0
    assert f"every utterance is written to {folder}".encode() in stderr
    assert sorted(path.name for path in folder.iterdir()) == [f"conversation.wav {number}.wav" for number in (1, 2, 3)]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        samples, rate_hz = soundfile.read(path)
        assert rate_hz == 16_000
        assert len(samples) / rate_hz == pytest.approx(1.2 + 0.25 + 0.09, abs=0.2)


def test_a_folder_that_cannot_be_made_stops_nothing(
    start: Start, conversation: Conversation, bundle_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "audio"
    process = start(
        "run", "--source", conversation.path, "--fast", "--json", "--bundle", bundle_folder, "--debug-audio", folder
    )
    stdout, stderr = process.communicate()
    assert process.returncode == 0
    assert stdout.count(b'"utterance"') == 3
    assert stderr.count(b"cannot be written to") == 1
