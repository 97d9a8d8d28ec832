"""The MQTT door and Home Assistant itself, where there is a Python that has it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.doors.mqtt import door, open_mqtt
from edge.event import SpeakerMatch
from edge.outputs import Outputs
from edge.settings import MqttSettings
from helpers.brokers import Mosquitto, until
from helpers.houses import House, answer

SCRIPT = Path(__file__).parents[1] / "helpers" / "home_assistant.py"
ODD = 'hall "{{ 1 }}" %} {# ☕😀 +/#'

pytestmark = pytest.mark.slow


class HomeAssistant:
    """A process that knows what Home Assistant knows."""

    def __init__(self, port: int, folder: Path) -> None:
        python = os.environ.get("HOME_ASSISTANT_PYTHON")
        if not python:
            pytest.skip("HOME_ASSISTANT_PYTHON names no Python that has homeassistant and paho-mqtt")
        self._errors = folder / "log"
        command = [python, str(SCRIPT), str(port), str(folder)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(command, stderr=errors, text=True, **pipes)

    def ask(self, command: str = "states") -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.log
        found: dict[str, Any] = json.loads(line)
        return found

    def wait_for(self, what: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def asked() -> object:
            nonlocal found
            found = self.ask()
            return what(found)

        until(asked, "it is so")
        return found

    @property
    def log(self) -> str:
        return self._errors.read_text()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    found = Mosquitto(tmp_path).start()
    yield found
    found.kill()


def test_it_has_every_source_without_a_setting(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "LOOK_S", 0.3)
    (tmp_path / "home").mkdir()
    home = HomeAssistant(broker.port, tmp_path / "home")
    house = House(ODD, "yard")
    outputs = Outputs([open_mqtt(MqttSettings(id="desk", broker=broker.address), house.inside)], meters=[])
    outputs.open()
    try:
        found = home.wait_for(lambda found: len(found["entities"]) == 28)
        assert found["devices"] == {"affectd desk": None, ODD: "affectd desk", "yard": "affectd desk"}
        time.sleep(3)  # it subscribes some time after it has made the entities, and no event is kept
        outputs.write(answer(1, ODD, speaker=SpeakerMatch("Ann", 0.9)))
        outputs.write(answer(2, "yard", "fear"))
        found = home.wait_for(lambda found: found["entities"]["sensor.yard_emotion"][0] == "fear")
        entities = found["entities"]
        assert entities["sensor.hall_1_emotion"][0] == "sad"
        assert entities["sensor.hall_1_confidence"][0] == "70.1"
        assert entities["sensor.hall_1_speaker"][0] == "Ann"
        assert entities["sensor.yard_speaker"][0] == "unknown"
        assert entities["event.hall_1_utterance"][1]["event_type"] == "sad"
        assert entities["event.hall_1_utterance"][1]["speaker"] == "Ann"
        assert entities["event.yard_utterance"][1]["event_type"] == "fear"
        assert entities["sensor.affectd_desk_bundle"][0] == "tiny 1"
        home.ask("switch.turn_off switch.yard_listening")
        home.wait_for(lambda found: found["entities"]["switch.yard_listening"][0] == "off")
        assert house.paused == {"yard"}
        del house.levels["yard"]
        found = home.wait_for(lambda found: "yard" not in found["devices"])
        assert not [name for name in found["entities"] if "yard" in name]
        outputs.close()
        found = home.wait_for(lambda found: found["entities"]["sensor.hall_1_emotion"][0] == "unavailable")
        assert {state for state, _ in found["entities"].values()} == {"unavailable"}
        assert "ERROR" not in home.log, home.log
        assert "mqtt.discovery" not in home.log, home.log
    finally:
        home.process.kill()
        home.process.wait()
        outputs.close(1.0)
