"""The MQTT door and a real broker: what arrives, what happens while it is away, and what may be asked for."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge.doors.mqtt import MqttDoor, announced, connection, door, open_mqtt
from edge.doors.mqtt.topics import id_of
from edge.event import Event, SpeakerMatch, status, wall_clock
from edge.outputs import JsonLines, Output, Outputs
from edge.settings import MqttSettings
from helpers.brokers import KEPT, PATIENCE_S, Listener, Mosquitto, until, value_of
from helpers.houses import House, answer

AUTOSAVED = f"allow_anonymous true\n{KEPT}autosave_on_changes true\nautosave_interval 1\n"
"""A broker that has on the disk what it has promised, also when it is killed."""
HALL = "affectd/desk/hall/state"
CONFIG = "homeassistant/device/desk/affectd{}/config"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, and wait shortly for what a broker kept."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(door, "LOOK_S", 0.3)
    monkeypatch.setattr(announced, "LEFTOVERS_S", 0.5)
    monkeypatch.setattr(connection, "STEADY_S", 0.5)


Open = Callable[..., tuple[MqttDoor, Outputs]]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open a door to a house among the outputs of a run, which are closed at the end of the test."""
    all_outputs: list[Outputs] = []

    def open_(house: House, *others: Output, **settings: Any) -> tuple[MqttDoor, Outputs]:
        found = open_mqtt(MqttSettings(id="desk", **settings), house.inside)
        outputs = Outputs([found, *others], meters=[])
        outputs.open()
        all_outputs.append(outputs)
        return found, outputs

    yield open_
    for outputs in all_outputs:
        outputs.close(1.0)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    found = Mosquitto(tmp_path).start()
    yield found
    found.kill()


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    found = Listener(broker.port, "#")
    yield found
    found.close()


def numbers(listener: Listener) -> list[int]:
    return [event["number"] for event in listener.of("affectd/desk/event")]


def test_events_arrive_as_they_are_in_a_file(
    broker: Mosquitto, listener: Listener, opened: Open, tmp_path: Path
) -> None:
    file = JsonLines(tmp_path / "events.jsonl")
    _, outputs = opened(House("hall"), file, broker=broker.address)
    named = answer(3, speaker=SpeakerMatch("Ann ☕", 0.9), relative={"sad": 1.5})
    for event in (Event("speech_start", "hall", wall_clock(), 1, 7, 0), status("hall", "ready", "ready"), named):
        outputs.write(event)
    outputs.close()
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert listener.wait_for(lambda: listener.of("affectd/desk/event") == lines)
    assert not any(message.retain for message in listener.messages)


def test_the_last_state_of_each_source_is_kept(broker: Mosquitto, opened: Open) -> None:
    house = House("hall", "Küche")
    _, outputs = opened(house, broker=broker.address)
    outputs.write(Event("speech_start", "Küche", wall_clock(), 1, 7, 0))
    outputs.write(answer(2, speaker=SpeakerMatch("Ann", 0.9)))
    late = Listener(broker.port, "affectd/#")
    kitchen = f"affectd/desk/{id_of('Küche')}/state"
    late.wait_for(lambda: (late.last(HALL) or {}).get("emotion") == "sad")
    assert late.last(HALL) | {"time": ""} == {
        "source": "hall",
        "state": "listening",
        "listening": "ON",
        "lost_s": 0.0,
        "room": 0.25,
        "room_utterances": 3.0,
        "level_dbfs": -40,
        "voice": "OFF",
        "emotion": "sad",
        "confidence": 0.7012,
        "speaker": "Ann",
        "needs_review": False,
        "scores": {"neutral": 0.1, "happy": 0.2, "sad": 0.7},
        "values": {},
        "time": "",
    }
    late.wait_for(lambda: (late.last(kitchen) or {}).get("voice") == "ON")
    assert late.last(kitchen)["emotion"] is None
    assert late.last("affectd/desk/state")["sources"] == {"hall": "hall", id_of("Küche"): "Küche"}
    house.levels["hall"] = -12.4
    late.wait_for(lambda: late.last(HALL)["level_dbfs"] == -12, "the level follows")
    states = len(late.of(HALL))
    time.sleep(1)
    assert len(late.of(HALL)) == states, "nothing is said twice"
    late.close()


def test_who_is_forgotten_is_in_no_state_that_is_kept(broker: Mosquitto, listener: Listener, opened: Open) -> None:
    house = House("hall", "yard")
    _, outputs = opened(house, broker=broker.address)
    yard = "affectd/desk/yard/state"
    before = [
        answer(1, speaker=SpeakerMatch("Ann", 0.9)),
        answer(2, "yard"),
        answer(3, speaker=SpeakerMatch("Ann", 0.8)),
    ]
    for event in before[:2]:
        house.inside.recent.add(event)
        outputs.write(event)
    listener.wait_for(lambda: (listener.last(HALL) or {}).get("speaker") == "Ann")
    house.inside.recent.add(before[2])
    house.inside.recent.clear()
    listener.wait_for(lambda: listener.last(HALL)["speaker"] is None, "at once, without another answer")
    assert listener.last(HALL)["emotion"] is None
    outputs.write(before[2])
    outputs.write(answer(4, "yard", speaker=SpeakerMatch("Ben", 0.9)))
    listener.wait_for(lambda: listener.last(yard)["speaker"] == "Ben", "who is still known is named")
    assert listener.last(HALL)["speaker"] is None, "what was heard before and comes late names nobody"
    late = Listener(broker.port, HALL)
    late.wait_for(lambda: late.last(HALL))
    assert late.last(HALL)["speaker"] is None
    late.close()


def test_two_machines_of_one_id_say_so_once_each(
    broker: Mosquitto, listener: Listener, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> int:
        return caplog.text.count("another affectd publishes as 'desk' at this broker, too")

    def runs() -> set[str]:
        return {state["run"] for state in listener.of("affectd/desk/state") if state}

    for count in (1, 2):
        _, outputs = opened(House("hall"), broker=broker.address)
        listener.wait_for(lambda count=count: len(runs()) == count)
        outputs.close()
    assert said() == 0, "one after the other is a restart"
    houses = [House("hall"), House("hall")]
    for count, house in enumerate(houses, 3):
        opened(house, broker=broker.address)
        listener.wait_for(lambda count=count: len(runs()) == count)
    until(lambda: said() == 2, "each says it")
    for house in houses:
        house.levels["yard"] = -40.0
    listener.wait_for(lambda: len(listener.last("affectd/desk/state")["sources"]) == 2)
    assert said() == 2


def test_somebody_is_there_or_not(broker: Mosquitto, opened: Open) -> None:
    late = Listener(broker.port, "affectd/desk/availability")
    _, outputs = opened(House("hall"), broker=broker.address)
    late.wait_for(lambda: late.last("affectd/desk/availability") == "online")
    # What the last will of an earlier connection says is not true of this one.
    late.say("affectd/desk/availability", "offline", retain=True)
    late.wait_for(lambda: late.of("affectd/desk/availability")[-2:] == ["offline", "online"])
    outputs.close()
    late.wait_for(lambda: late.last("affectd/desk/availability") == "offline")
    late.close()


def test_a_source_is_switched(broker: Mosquitto, listener: Listener, opened: Open) -> None:
    house = House("hall", "café / 1")
    opened(house, broker=broker.address)
    cafe = id_of("café / 1")
    listener.wait_for(lambda: listener.last(f"affectd/desk/{cafe}/state"))
    listener.say(f"affectd/desk/{cafe}/set", "OFF")
    listener.wait_for(lambda: listener.last(f"affectd/desk/{cafe}/state")["listening"] == "OFF")
    assert house.paused == {"café / 1"}
    assert listener.last(HALL)["listening"] == "ON"
    listener.say(f"affectd/desk/{cafe}/set", "ON")
    listener.wait_for(lambda: listener.last(f"affectd/desk/{cafe}/state")["listening"] == "ON")
    assert listener.last("affectd/desk/answer") == {
        "do": "resume",
        "source": "café / 1",
        "answer": {"resumed": ["café / 1"]},
    }


def test_requests_are_answered_right_or_wrong(broker: Mosquitto, listener: Listener, opened: Open) -> None:
    house = House("hall")
    opened(house, broker=broker.address)
    listener.wait_for(lambda: listener.last(HALL))
    listener.say("affectd/desk/do", '{"do": "reset_room", "source": "hall", "id": "a"}')
    for wrong in (b"", b"\xff", b"{}", b'{"do": "reload"}'):
        listener.say("affectd/desk/do", wrong)
    listener.say("affectd/desk/attic/set", "ON")
    listener.say("affectd/desk/do", '{"do": "pause", "source": "hall"}', retain=True)
    found = listener.wait_for(
        lambda: len(listener.of("affectd/desk/answer")) == 7 and listener.of("affectd/desk/answer")
    )
    assert found[0] == {"id": "a", "do": "reset_room", "source": "hall", "answer": {"reset": ["hall"]}}
    assert ["error" in each for each in found[1:6]] == [True] * 5
    assert house.reset == ["hall"]
    assert "there is no source 'attic'" in found[5]["error"]
    listener.say("affectd/desk/do", "", retain=True)
    assert listener.last("affectd/desk/availability") == "online"


def test_a_command_that_was_kept_is_not_done_at_the_next_start(
    broker: Mosquitto, listener: Listener, opened: Open
) -> None:
    house = House("hall")
    listener.say("affectd/desk/hall/set", "OFF", retain=True)
    opened(house, broker=broker.address)
    listener.wait_for(lambda: "without retain" in (listener.last("affectd/desk/answer") or {}).get("error", ""))
    assert not house.paused


def test_no_event_is_lost_while_the_broker_is_killed_and_started_again(tmp_path: Path, opened: Open) -> None:
    broker = Mosquitto(tmp_path, AUTOSAVED).start()
    listener = Listener(broker.port, "affectd/#", session="keeps-its-session")
    found, outputs = opened(House("hall"), broker=broker.address)
    for number in range(1, 51):
        outputs.write(answer(number))
    listener.wait_for(lambda: len(numbers(listener)) >= 50)
    broker.kill()
    for number in range(51, 101):
        outputs.write(answer(number))
    broker.start()
    for number in range(101, 151):
        outputs.write(answer(number))
    listener.wait_for(lambda: set(numbers(listener)) == set(range(1, 151)))
    assert found.lost == 0
    listener.wait_for(lambda: listener.last("affectd/desk/availability") == "online")
    listener.close()
    outputs.close()
    broker.kill()


def test_the_oldest_events_are_lost_where_too_many_wait_and_that_is_said(
    tmp_path: Path, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Mosquitto(tmp_path, AUTOSAVED)
    found, outputs = opened(House("hall"), broker=broker.address, queue_events=10)
    for number in range(1, 26):
        outputs.write(answer(number))
    until(lambda: found.lost == 15, "fifteen are lost")
    assert outputs.lost == {"mqtt": 15}
    broker.start()
    listener = Listener(broker.port, "affectd/#", session="keeps-its-session")
    listener.wait_for(lambda: (listener.last("affectd/desk/state") or {}).get("lost_events") == 15)
    broker.kill()
    broker.start()
    outputs.write(answer(26))
    listener.wait_for(lambda: 26 in numbers(listener))
    assert set(numbers(listener)) <= set(range(16, 27))
    said = [record.message for record in caplog.records]
    assert any("cannot be reached: Connection refused; it is tried again" in message for message in said)
    assert said.count("output mqtt: the broker is away or too slow: events are lost") == 1
    until(lambda: "answers again" in caplog.text, "it is said")
    listener.close()
    outputs.close()
    broker.kill()


def written_without_waiting(outputs: Outputs, found: MqttDoor, count: int = 2_000) -> None:
    """Write many events straight to the door, which must not wait for anybody."""
    thread = threading.Thread(target=lambda: [found.write(answer(number)) for number in range(1, count + 1)])
    thread.daemon = True
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "write waits"
    assert not outputs.lost.get("mqtt")


def test_nobody_waits_for_a_broker_that_is_absent_or_silent() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # and never answers
        for port in (silent.getsockname()[1], 1):
            found = open_mqtt(MqttSettings(id="desk", broker=f"mqtt://127.0.0.1:{port}"), House("hall").inside)
            found.open()
            written_without_waiting(Outputs([]), found)
            found.refresh([])
            found.close()
            assert found.lost == 2_000, "and what nobody has got is counted"


def test_nobody_waits_for_a_broker_that_is_stuck(broker: Mosquitto, listener: Listener) -> None:
    found = open_mqtt(MqttSettings(id="desk", broker=broker.address), House("hall").inside)
    found.open()
    until(lambda: found.refresh([]) or listener.last("affectd/desk/availability") == "online", "it is there")
    assert broker.process
    broker.process.send_signal(signal.SIGSTOP)
    written_without_waiting(Outputs([]), found)
    broker.process.send_signal(signal.SIGCONT)
    until(lambda: found.refresh([]) or len(numbers(listener)) == 2_000, "all have arrived")
    assert numbers(listener) == list(range(1, 2_001))
    assert found.lost == 0
    found.close()


def write_users(path: Path, *names: str) -> Path:
    """Write a file of users whose passwords are their names."""
    path.touch()
    for name in names:
        subprocess.run(["mosquitto_passwd", "-b", path, name, name], check=True, capture_output=True)
    return path


def test_a_wrong_password_is_said_and_the_right_one_works(
    tmp_path: Path, opened: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = write_users(tmp_path / "users", "right")
    broker = Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {users}\n").start()
    _, outputs = opened(House("hall"), broker=broker.address, user="right", password="wrong")
    why = f"output mqtt: {broker.address} refuses user 'right': Not authorized; it is tried again"
    until(lambda: why in [record.message for record in caplog.records], "it is said")
    assert "wrong" not in caplog.text
    outputs.close(0.5)
    _, outputs = opened(House("hall"), broker=broker.address)
    until(lambda: "refuses whoever has no mqtt.user" in caplog.text, "it is said")
    outputs.close(0.5)
    (tmp_path / "mqtt-password").write_text("right\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    _, outputs = opened(House("hall"), broker=broker.address, user="right")
    listener = Listener(broker.port, "affectd/#", user="right", password="right")
    listener.wait_for(lambda: listener.last(HALL))
    listener.close()
    outputs.close()
    broker.kill()


def test_with_the_documented_rights_a_device_has_what_is_its_own(tmp_path: Path, opened: Open) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "fleet.md").read_text(encoding="utf-8")
    rights = next(block for block in page.split("```") if block.strip().startswith("pattern"))
    users = write_users(tmp_path / "users", "desk", "collector", "operator", "homeassistant")
    (tmp_path / "acl").write_text(rights.strip() + "\n")
    os.chmod(tmp_path / "acl", 0o600)
    rules = f"allow_anonymous false\npassword_file {users}\nacl_file {tmp_path}/acl\n"
    broker = Mosquitto(tmp_path, rules).start()
    collector = Listener(broker.port, "affectd/#", user="collector", password="collector")
    home = Listener(broker.port, "homeassistant/#", user="homeassistant", password="homeassistant")
    operator = Listener(broker.port, "affectd/+/answer", user="operator", password="operator")
    house = House("hall", "yard")
    opened(house, broker=broker.address, user="desk", password="desk")
    home.wait_for(lambda: home.last(CONFIG.format("-yard")))
    collector.wait_for(lambda: collector.last(HALL))
    for user, topic in (
        ("desk", "affectd/other/event"),
        ("desk", "homeassistant/device/other/affectd/config"),
        ("desk", "homeassistant/status"),
        ("collector", "affectd/desk/hall/set"),
    ):
        # In a process for each, for mosquitto 2.0.11 ends the connection of whoever may not.
        where = ["-h", "127.0.0.1", "-p", str(broker.port), "-u", user, "-P", user, "-t", topic]
        subprocess.run(["mosquitto_pub", *where, "-m", "OFF" if topic.endswith("set") else "not mine"], check=True)
    home.say("homeassistant/status", "online")
    home.wait_for(lambda: len(home.of(CONFIG.format("-hall"))) == 2)
    operator.say("affectd/desk/yard/set", "OFF")
    operator.wait_for(lambda: operator.last("affectd/desk/answer"))
    del house.levels["yard"]
    home.wait_for(lambda: home.last(CONFIG.format("-yard")) == "")
    assert house.paused == {"yard"}
    assert not [message for message in (*collector.messages, *home.messages) if value_of(message) == "not mine"]
    assert broker.log.count("Denied PUBLISH") == 4
    for listener in (collector, home, operator):
        listener.close()
    broker.kill()


def test_a_missing_right_is_said_and_events_arrive_all_the_same(
    tmp_path: Path, opened: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STEADY_S", 5.0)
    users = write_users(tmp_path / "users", "desk")
    (tmp_path / "acl").write_text("pattern readwrite affectd/%u/#\n")
    os.chmod(tmp_path / "acl", 0o600)
    rules = f"allow_anonymous false\npassword_file {users}\nacl_file {tmp_path}/acl\n"
    broker = Mosquitto(tmp_path, rules).start()
    listener = Listener(broker.port, "affectd/#", user="desk", password="desk")
    _, outputs = opened(House("hall"), broker=broker.address, user="desk", password="desk")
    for number in range(1, 11):
        outputs.write(answer(number))
    listener.wait_for(lambda: set(numbers(listener)) == set(range(1, 11)))
    until(lambda: "Denied PUBLISH" in broker.log, "it may not")
    # Newer ones leave the message out, and say nothing.
    if "Bad socket" in broker.log:
        why = "ends the connection soon after the login: perhaps user 'desk' may not publish its topics there"
        until(lambda: why in caplog.text, "it is said")
        time.sleep(2)
        assert caplog.text.count(why) == 1
    listener.close()
    outputs.close(0.5)
    broker.kill()


def test_the_connection_is_encrypted_and_the_broker_has_to_be_the_right_one(
    tmp_path: Path, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("ours", "another"):
        write_certificate(tmp_path / name)
    files = f"cafile {tmp_path}/ours.crt\ncertfile {tmp_path}/ours.crt\nkeyfile {tmp_path}/ours.key\n"
    broker = Mosquitto(tmp_path, f"allow_anonymous true\n{files}").start()
    address = f"mqtts://localhost:{broker.port}"
    _, outputs = opened(House("hall"), broker=address, ca=str(tmp_path / "another.crt"))
    until(lambda: "cannot be reached: " in caplog.text and "certificate verify failed" in caplog.text, "it is said")
    outputs.close(0.5)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        opened(House("hall"), broker=address, ca=str(tmp_path / "ours.crt"))
        until(lambda: "Received PUBLISH" in broker.log and HALL in broker.log, "it is published")
    assert not caplog.records
    broker.kill()


def write_certificate(path: Path) -> None:
    """Write a key, and a certificate of localhost by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, path.name)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(1))
        .not_valid_after(now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.with_suffix(".crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.with_suffix(".key").write_bytes(pem)
    ssl.create_default_context(cafile=path.with_suffix(".crt"))


def test_home_assistant_has_every_source_and_again_when_it_starts(
    broker: Mosquitto, listener: Listener, opened: Open
) -> None:
    opened(House("hall", "yard"), broker=broker.address)
    topics = [CONFIG.format(source) for source in ("", "-hall", "-yard")]
    listener.wait_for(lambda: all(len(listener.of(topic)) == 1 for topic in topics))
    listener.say("homeassistant/status", "offline")
    listener.say("homeassistant/status", "online")
    listener.wait_for(lambda: all(len(listener.of(topic)) == 2 for topic in topics))
    assert all(listener.of(topic)[0] == listener.of(topic)[1] for topic in topics)
    late = Listener(broker.port, "homeassistant/#")
    late.wait_for(lambda: all(late.last(topic) for topic in topics), "they are kept")
    late.close()


def test_a_source_that_is_no_more_is_taken_back(broker: Mosquitto, listener: Listener, opened: Open) -> None:
    house = House("hall", "yard")
    opened(house, broker=broker.address)
    listener.wait_for(lambda: listener.last("affectd/desk/yard/state"))
    del house.levels["yard"]
    listener.wait_for(lambda: listener.last(CONFIG.format("-yard")) == "")
    listener.wait_for(lambda: listener.last("affectd/desk/yard/state") == "")
    assert listener.last(CONFIG.format("-hall"))
    assert listener.last(HALL)


def test_a_source_that_went_while_affectd_did_not_run_is_taken_back(
    broker: Mosquitto, listener: Listener, opened: Open
) -> None:
    before = House("hall", "yard")
    _, outputs = opened(before, broker=broker.address)
    listener.wait_for(lambda: listener.last("affectd/desk/yard/state"))
    outputs.close()
    others = [CONFIG.format("-x").replace("desk", "desk2"), "homeassistant/device/desk/other/config"]
    for topic in (*others, "affectd/desk2/yard/state"):
        listener.say(topic, '{"not": "ours"}', retain=True)
    now = House("hall", "microphone")
    now.waiting.add("microphone")
    opened(now, broker=broker.address)
    time.sleep(1)
    assert listener.last(CONFIG.format("-yard")), "the microphone may yet be called so"
    assert not listener.of(CONFIG.format("-microphone"))
    now.levels["usb"] = now.levels.pop("microphone")
    now.waiting.clear()
    listener.wait_for(lambda: listener.last(CONFIG.format("-yard")) == "")
    listener.wait_for(lambda: listener.last("affectd/desk/yard/state") == "")
    listener.wait_for(lambda: listener.last(CONFIG.format("-usb")))
    time.sleep(0.5)
    assert all(listener.last(topic) == {"not": "ours"} for topic in (*others, "affectd/desk2/yard/state"))


def test_nothing_is_announced_without_discovery(broker: Mosquitto, listener: Listener, opened: Open) -> None:
    opened(House("hall"), broker=broker.address, discovery="", topic="home/affectd")
    listener.wait_for(lambda: listener.last("home/affectd/desk/hall/state"))
    assert not [message for message in listener.messages if message.topic.startswith("homeassistant")]
