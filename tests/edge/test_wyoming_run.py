"""A source for voice assistants in the settings, and in a running ``affectd run``."""

from __future__ import annotations

import csv
import json
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.audio import SAMPLE_RATE_HZ, read_audio
from edge.capture import open_source
from edge.capture.address import Address, is_address, parse_address
from edge.capture.open import upstream_of
from edge.daemon.installation import check_for_service, needs_network
from edge.doctor import _source
from edge.errors import AffectdError, AudioDeviceError, UsageError
from edge.settings import CaptureSettings, load_settings
from helpers.assistants import HANGS_S, WORDS, speak, speech_to_text
from helpers.ports import free_port
from helpers.signals import silence

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def settings(source: str = "wyoming://127.0.0.1:10300", upstream: str = "") -> CaptureSettings:
    return CaptureSettings(source=source, upstream=upstream)


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("wyoming://127.0.0.1:10300", Address("wyoming", "127.0.0.1", 10_300)),
        ("wyoming://[::1]:10300/", Address("wyoming", "::1", 10_300)),
    ],
)
def test_addresses(source: str, address: Address) -> None:
    assert is_address(source)
    assert parse_address(source) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("source", "upstream", "message"),
    [
        ("wyoming://127.0.0.1", "", "of the form wyoming://127.0.0.1:10300; its port is from 1 to 65535"),
        ("wyoming://127.0.0.1:10300/hall", "", "Wyoming has no path '/hall': write wyoming://127.0.0.1:10300"),
        ("wyomin://127.0.0.1:10300", "", "did you mean 'wyoming'"),
        ("wyoming://127.0.0.1:10300", "tcp://a", "upstream 'tcp://a' is not of the form tcp://127.0.0.1:7000"),
        ("wyoming://127.0.0.1:10300", "ws://a:1", "upstream 'ws://a:1' is neither tcp://"),
        ("wyoming://127.0.0.1:10300", "whisper", "whisper: is none of tcp, unix"),
        ("wyoming://127.0.0.1:10300", "tcp://127.0.0.1:10300", "is the source itself"),
    ],
)
def test_what_is_wrong_with_an_address(source: str, upstream: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(settings(source, upstream))


def test_only_this_source_has_something_behind_it() -> None:
    with pytest.raises(UsageError, match="is for a source wyoming"):
        upstream_of(settings("tcp://127.0.0.1:7000", "tcp://127.0.0.1:10301"))


def test_a_service_needs_the_network_and_whole_paths() -> None:
    loaded = {"capture.source": "wyoming://127.0.0.1:10300", "capture.upstream": "unix:/run/whisper"}
    found = load_settings(environment={}, overrides=loaded).settings
    assert needs_network(found)
    check_for_service(found)
    relative = load_settings(environment={}, overrides=loaded | {"capture.upstream": "unix:whisper"}).settings
    with pytest.raises(UsageError, match="upstream 'whisper' is relative"):
        check_for_service(relative)


def test_doctor_asks_the_speech_to_text() -> None:
    port = free_port()
    address = f"wyoming://127.0.0.1:{port}"
    assert _source(settings(address)) == f"waits for somebody to send to {address}"
    with speech_to_text() as (upstream, _):
        found = f"waits for somebody to send to {address}, before the speech-to-text at {upstream}"
        assert _source(settings(address, upstream)) == found
        with socket.create_server(("127.0.0.1", port)):
            assert "somebody waits there" in _source(settings(address, upstream))
    with pytest.raises(AffectdError, match="cannot be reached: Connection refused"):
        _source(settings(address, upstream))


@pytest.mark.parametrize("host", ["192.0.2.1", "name.invalid"])
def test_a_place_that_is_not_ours(host: str) -> None:
    with pytest.raises(AudioDeviceError, match=f"cannot listen at wyoming://{host}"):
        next(iter(open_source(settings(f"wyoming://{host}:10300")).blocks()))


def test_other_machines_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for host, count in (("127.0.0.1", 0), ("0.0.0.0", 1)):
        source = open_source(settings(f"wyoming://{host}:{free_port()}"))
        with caplog.at_level(logging.WARNING):
            blocks = iter(source.blocks())
            next(blocks)
        source.close()
        assert not list(blocks)
        assert caplog.text.count("Wyoming has no password") == count


@pytest.mark.slow
def test_a_conversation_through_affectd_run(start: Callable[..., Any], tmp_path: Path) -> None:
    """The whole way: settings, the embedded bundle and a real client for each turn."""
    with (EXAMPLES / "conversation.csv").open(encoding="utf-8", newline="") as file:
        turns = [(float(row["start_s"]), float(row["end_s"])) for row in csv.DictReader(file)]
    samples, port, config = read_audio(EXAMPLES / "conversation.flac"), free_port(), tmp_path / "config.toml"
    with speech_to_text() as (upstream, _):
        text = f'[[sources]]\nname = "hall"\nsource = "wyoming://127.0.0.1:{port}"\nupstream = "{upstream}"\n'
        config.write_text(text + f'[speakers]\nstore = "{tmp_path}"\n')
        process: subprocess.Popen[bytes] = start("run", "--json", "--config", config)
        lines: list[dict[str, Any]] = []
        assert process.stdout
        reading = threading.Thread(target=lambda: lines.extend(map(json.loads, process.stdout or ())), daemon=True)
        reading.start()
        wait_for(port)
        answers = []
        for start_s, end_s in turns:
            said = samples[round((start_s - 0.2) * SAMPLE_RATE_HZ) : round((end_s + 0.1) * SAMPLE_RATE_HZ)]
            transcript = speak(port, np.concatenate([silence(0.3), said]))[-1].data
            assert transcript["text"] == WORDS
            answers.append(transcript["context"]["affectd"])
        process.terminate()
        reading.join(HANGS_S)
    said_of = {line["number"]: line for line in lines if line["type"] == "utterance"}
    assert len(answers) == 6
    for answer in answers:
        line = said_of[answer["event"]]
        assert line["source"] == "hall"
        assert {key: line[key] for key in answer if key != "event"} == {
            key: value for key, value in answer.items() if key != "event"
        }
    assert len({answer["event"] for answer in answers}) == 6


def wait_for(port: int) -> None:
    """Wait until somebody listens at a port."""
    deadline_s = time.monotonic() + HANGS_S
    while time.monotonic() < deadline_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens at {port}")


@pytest.mark.slow
def test_outside_of_its_hours_the_words_come_all_the_same(start: Callable[..., Any], tmp_path: Path) -> None:
    later = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[(time.localtime().tm_wday + 2) % 7]
    port, config = free_port(), tmp_path / "config.toml"
    with speech_to_text() as (upstream, _):
        config.write_text(
            f'[capture]\nsource = "wyoming://127.0.0.1:{port}"\nupstream = "{upstream}"\n'
            f'hours = "{later} 10:00-11:00"\n[encoder]\nbundle = "nano"\n[speakers]\nstore = "{tmp_path}"\n'
        )
        start("run", "--json", "--config", config)
        wait_for(port)
        for _ in range(2):
            transcript = speak(port, silence(1.0))[-1].data
            assert (transcript["text"], transcript["context"]["affectd"]) == (WORDS, None)
