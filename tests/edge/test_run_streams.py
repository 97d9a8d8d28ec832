import io
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

import edge
from edge.audio import SAMPLE_RATE_HZ
from edge.errors import AudioFileError
from helpers.conversation import Conversation
from helpers.signals import silence

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[bytes]"]


def events_of(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def written(conversation: Conversation, format: str, rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, conversation.samples / 4, rate_hz, format=format)
    return file.getvalue()


@pytest.mark.parametrize(
    ("speed", "format"),
    [
        *(("--fast", format) for format in ("WAV", "FLAC", "OGG", "MP3", "AIFF")),
        *(("--realtime", format) for format in ("WAV", "MP3")),  # what decodes is the same at any speed
    ],
)
def test_standard_input_says_what_it_is(
    speed: str, format: str, start: Start, conversation: Conversation, bundle_folder: Path
) -> None:
    process = start("run", "--source", "-", "--rate", 44_100, speed, "--bundle", bundle_folder)
    stdout, stderr = process.communicate(written(conversation, format))
    assert process.returncode == 0, stderr
    events = events_of(stdout)
    starts_s = [event["start_s"] for event in events if event["type"] == "utterance"]
    assert starts_s == pytest.approx([start_s for start_s, _ in conversation.turns_s], abs=0.15)
    assert not [event for event in events if event.get("reason") in ("partial", "repaired")]


def test_arecords_header_says_nothing_of_the_length(
    start: Start, conversation: Conversation, bundle_folder: Path
) -> None:
    data = bytearray(written(conversation, "WAV"))
    data[4:8], data[40:44] = b"\x24\0\0\x80", b"\0\0\0\x80"
    process = start("run", "--source", "-", "--fast", "--bundle", bundle_folder)
    stdout, _ = process.communicate(bytes(data))
    assert [event["type"] for event in events_of(stdout)].count("utterance") == 3


def test_a_producer_that_fails_is_an_error(start: Start, bundle_folder: Path) -> None:
    for speed in ("--fast", "--realtime"):
        process = start("run", "--source", "-", speed, "--bundle", bundle_folder)
        _, stderr = process.communicate(b"")
        assert process.returncode == 1
        assert stderr == b"affectd: -: nothing arrives: did the program that writes into the pipe fail?\n"


@pytest.mark.parametrize("is_raw", [True, False])
def test_a_named_pipe_is_a_source(
    is_raw: bool, start: Start, conversation: Conversation, bundle_folder: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = written(conversation, "WAV")
    threading.Thread(target=pipe.write_bytes, args=(data[44:] if is_raw else data,), daemon=True).start()
    process = start("run", "--source", pipe, "--fast", "--bundle", bundle_folder)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert [event["type"] for event in events_of(stdout)].count("utterance") == 3
    assert {event["source"] for event in events_of(stdout)} == {"pipe"}


def test_what_is_wrong_with_a_file_is_a_status(
    start: Start, conversation: Conversation, bundle_folder: Path, tmp_path: Path
) -> None:
    cut, mute = tmp_path / "cut.wav", tmp_path / "mute.wav"
    cut.write_bytes(written(conversation, "WAV")[:120_000])
    soundfile.write(mute, silence(1.0), SAMPLE_RATE_HZ)
    for file, reason, message in (
        (cut, "partial", "cut.wav: breaks off at 3.7 s of 7.1 s"),
        (mute, "no_speech", "mute.wav: no utterance in 1.0 s of audio"),
    ):
        process = start("run", "--source", file, "--fast", "--bundle", bundle_folder)
        stdout, _ = process.communicate()
        assert process.returncode == 0
        (said,) = [event for event in events_of(stdout) if event.get("reason") == reason]
        assert said["message"] == message


def test_the_library_listens_to_a_named_pipe(conversation: Conversation, bundle_folder: Path, tmp_path: Path) -> None:
    model = edge.load(bundle_folder, settings={"capture.realtime": False})
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for data, count in ((written(conversation, "FLAC"), 3), (b"", 0)):
        threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True).start()
        with edge.listen(pipe, model=model) as listening:
            if data:
                assert [event.type for event in listening].count("utterance") == count
            else:
                with pytest.raises(AudioFileError, match="nothing arrives"):
                    list(listening)
