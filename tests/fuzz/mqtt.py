"""Nonsense at the command topics of the MQTT door, over a real broker."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.doors.mqtt import open_mqtt
from edge.event import status
from edge.outputs import Outputs
from edge.settings import MqttSettings
from fuzz import inputs
from helpers.brokers import Listener, Mosquitto
from helpers.houses import House

HANGS_S = 10.0
AT_ONCE = 500
"""Commands that are under way together; the door drops what is more than it may keep waiting."""
BASE = "affectd/desk"


def fuzz_mqtt(count: int, folder: Path) -> Counter[str]:
    """Ask for nonsense, and then for something; every command must be answered, over the one connection."""
    chance, counts = random.Random(4), Counter[str]()
    broker = Mosquitto(folder).start()
    listener = Listener(broker.port, f"{BASE}/answer", f"{BASE}/availability", f"{BASE}/event")
    door = open_mqtt(MqttSettings(id="desk", broker=broker.address), House("hall").inside)
    outputs = Outputs([door], meters=[])
    outputs.open()
    try:
        _wait(lambda: listener.last(f"{BASE}/availability") == "online")
        for first in range(0, count, AT_ONCE):
            several = min(AT_ONCE, count - first)
            before = len(listener.messages)
            for _ in range(several):
                listener.client.publish(*command(chance), qos=1)
            for topic in ("homeassistant/status", f"{BASE}/hall/state", "homeassistant/device/desk/affectd-x/config"):
                listener.client.publish(topic, inputs.request(chance), qos=1)
            _wait(lambda before=before, several=several: len(listener.messages) >= before + several)
        answers = listener.of(f"{BASE}/answer")
        counts.update(outcome(answer) for answer in answers)
        counts["hung"] += count - len(answers)
        listener.say(f"{BASE}/do", '{"do": "pause", "source": "hall"}')
        outputs.write(status("hall", "ready", "still here"))
        if not _wait(lambda: listener.of(f"{BASE}/event") and len(listener.of(f"{BASE}/answer")) > len(answers)):
            counts["it does not answer, or writes no event, any more"] += 1
        if listener.of(f"{BASE}/availability") != ["online"]:
            counts["it was away"] += 1
    finally:
        outputs.close()
        listener.close()
        broker.kill()
    return +counts


def command(chance: random.Random) -> tuple[str, bytes]:
    """Return a topic and what is asked for there."""
    kind = chance.randrange(4)
    if kind == 0:
        source = chance.choice(("hall", "hal", "x" * 300, "ä☕", " ", "$", "set"))
        return f"{BASE}/{source}/set", chance.choice((b"ON", b"OFF", b"on", b"", chance.randbytes(20)))
    if kind == 1:
        return f"{BASE}/hall/set", inputs.damaged(b"OFF", chance)
    return f"{BASE}/do", inputs.request(chance)


def outcome(answer: Any) -> str:
    """Return what became of a command, by its answer."""
    if not isinstance(answer, dict):
        return f"crashed: answered {answer!r}"[:200]
    if "answer" in answer:
        return "worked"
    return "clear error" if "code" in answer else f"crashed: {answer}"[:200]


def _wait(what: Callable[[], object]) -> bool:
    deadline_s = time.monotonic() + HANGS_S
    while not what():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.01)
    return True
