"""``affectd run`` with a broker, as a user has it: a settings file and a process."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.brokers import Listener, Mosquitto, until
from helpers.conversation import Conversation
from helpers.pipes import feed
from helpers.tiny import tiny_bundle, with_values

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[bytes]"]
Call = Callable[..., int]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "conversation.flac"


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    broker = Mosquitto(tmp_path).start()
    found = Listener(broker.port, "#")
    yield found
    found.close()
    broker.kill()


def write_config(path: Path, listener: Listener, more: str = "") -> Path:
    mqtt = f'[mqtt]\nbroker = "mqtt://127.0.0.1:{listener.port}"\nid = "desk"\n'
    path.write_text(f"{mqtt}[room]\nremember = false\n{more}", encoding="utf-8")
    return path


def test_a_file_is_published_to_its_end(start: Start, tmp_path: Path, listener: Listener) -> None:
    config = write_config(tmp_path / "affectd.toml", listener)
    process = start("run", "--config", config, "--source", EXAMPLE, "--fast", "--json")
    output, said = process.communicate()
    assert process.returncode == 0, said
    lines = [json.loads(line) for line in output.splitlines()]
    assert len([line for line in lines if line["type"] == "utterance"]) == 6
    assert listener.wait_for(lambda: listener.of("affectd/desk/event") == lines), "same ids, revisions and numbers"
    listener.wait_for(lambda: listener.last("affectd/desk/availability") == "offline")
    (source,) = listener.last("affectd/desk/state")["sources"]
    state = listener.last(f"affectd/desk/{source}/state")
    assert (state["state"], state["listening"], state["emotion"]) == ("ended", "OFF", lines[-2]["emotion"])


def test_values_reach_the_broker_and_home_assistant_with_their_ranges(
    start: Start, tmp_path: Path, listener: Listener, conversation: Conversation
) -> None:
    bundle = with_values(tiny_bundle(tmp_path / "valued"))
    config = write_config(tmp_path / "affectd.toml", listener, f'[encoder]\nbundle = "{bundle}"\n')
    process = start("run", "--config", config, "--source", conversation.path, "--fast", "--json")
    output, said = process.communicate()
    assert process.returncode == 0, said
    answers = [line for line in map(json.loads, output.splitlines()) if line["type"] == "utterance"]
    values = answers[-1]["values"]
    assert set(values) == {"arousal", "intensity"}
    assert values["arousal"].keys() == {"value", "low", "high"}
    listener.wait_for(lambda: listener.last("affectd/desk/availability") == "offline")
    (source,) = listener.last("affectd/desk/state")["sources"]
    assert listener.last(f"affectd/desk/{source}/state")["values"] == values
    parts = listener.last(f"homeassistant/device/desk/affectd-{source}/config")["cmps"]
    assert json.loads(parts["arousal"]["json_attributes_template"])["low"] == -1


def test_sources_are_paused_taken_back_and_missed(
    start: Start,
    call: Call,
    tmp_path: Path,
    listener: Listener,
    conversation: Conversation,
    bundle_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    pipes = [tmp_path / name for name in ("hall", "yard")]
    stop = threading.Event()
    for pipe in pipes:
        os.mkfifo(pipe)
    encoder = f'[encoder]\nbundle = "{bundle_folder}"\n'
    both, one = ("".join(f'[[sources]]\nsource = "{pipe}"\n' for pipe in some) for some in (pipes, pipes[:1]))
    config = write_config(tmp_path / "affectd.toml", listener, encoder + both)
    process = start("run", "--config", config, "--json", stdout=subprocess.DEVNULL, without_terminal=True)
    for pipe in pipes:
        feed(pipe, conversation.samples, stop)

    def kept(topic: str) -> Any:
        return listener.last(f"affectd/desk/{topic}")

    def reasons() -> list[str]:
        return [event["reason"] for event in listener.of("affectd/desk/event") if event["type"] == "status"]

    listener.wait_for(lambda: (kept("hall/state") or {}).get("emotion"))
    listener.wait_for(lambda: kept("yard/state"))
    listener.say("affectd/desk/yard/set", "OFF")
    listener.wait_for(lambda: kept("yard/state")["listening"] == "OFF")
    listener.wait_for(lambda: "paused" in reasons())
    listener.say("affectd/desk/do", '{"do": "reset_room", "source": "hall"}')
    listener.wait_for(lambda: kept("answer")["do"] == "reset_room")
    assert kept("answer")["answer"] == {"reset": ["hall"]}
    listener.say("affectd/desk/do", '{"do": "pause", "source": "hal"}')
    listener.wait_for(lambda: "did you mean 'hall'" in kept("answer").get("error", ""))
    assert listener.last("homeassistant/device/desk/affectd-yard/config")["dev"]["name"] == "yard"

    write_config(config, listener, encoder + one)
    assert call("reload", "--pid", process.pid) == 0
    listener.wait_for(lambda: listener.last("homeassistant/device/desk/affectd-yard/config") == "")
    listener.wait_for(lambda: kept("yard/state") == "")

    # Another door, while the one before closes.
    config.write_text(config.read_text().replace('id = "desk"\n', 'id = "desk"\nqueue_events = 50\n'))
    assert call("reload", "--pid", process.pid) == 0
    listener.wait_for(lambda: "offline" in listener.of("affectd/desk/availability"))
    listener.wait_for(lambda: kept("availability") == "online")
    listener.wait_for(lambda: reasons().count("settings_changed") == 2)
    listener.say("affectd/desk/hall/set", "OFF")
    listener.wait_for(lambda: reasons().count("paused") == 2)
    numbers = [event["number"] for event in listener.of("affectd/desk/event")]
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1)), "no event is lost on the way from one to the other"
    process.kill()
    listener.wait_for(lambda: kept("availability") == "offline", "the broker says so in its place")
    assert listener.last("homeassistant/device/desk/affectd-hall/config"), "Home Assistant knows it as not available"
    stop.set()


def test_what_is_wrong_with_the_settings_ends_it_at_once(start: Start, tmp_path: Path) -> None:
    for setting, why in (("mqtt.broker=hall", b"write mqtt://hall"), ("mqtt.id=a/b", b"mqtt.id 'a/b' is none")):
        chosen = ("--set", setting, *(() if "broker" in setting else ("--set", "mqtt.broker=mqtt://hall")))
        process = start("run", "--source", EXAMPLE, *chosen)
        _, said = process.communicate()
        assert process.returncode == 2
        assert why in said


def test_a_broker_that_is_away_delays_nothing_and_what_it_missed_is_counted(start: Start, tmp_path: Path) -> None:
    chosen = ("--set", "mqtt.broker=mqtt://127.0.0.1:1", "--json")
    process = start("run", "--source", EXAMPLE, "--fast", *chosen)
    output, said = process.communicate()
    assert process.returncode == 0
    lost = len(output.splitlines())
    assert lost > 20
    assert f"the last {lost} events are lost".encode() in said
    assert until(lambda: b"mqtt" in said and b"cannot be reached: Connection refused" in said, "it is said")
