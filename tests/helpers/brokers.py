"""A real MQTT broker for the tests, mosquitto, and somebody who listens to it."""

from __future__ import annotations

import atexit
import getpass
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from helpers.ports import free_port

PATIENCE_S = 20.0
KEPT = "persistence true\npersistence_file broker.db\n"
"""Configuration of a broker that keeps sessions and messages when it ends in good order."""


class Mosquitto:
    """A broker on a port of its own, which may be ended, killed, stopped in its tracks and started again."""

    def __init__(self, folder: Path, more: str = "allow_anonymous true\n") -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            pytest.skip("mosquitto is not installed (apt install mosquitto)")
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        limits = "max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n"
        # As root it would become a user of its own, who cannot read what is in the folder.
        location = f"persistence_location {folder}/\nuser {getpass.getuser()}\n"
        self._config.write_text(f"listener {self.port} 127.0.0.1\n{limits}{location}{more}")
        self._program, self._log = program, folder / "mosquitto.log"
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.kill)

    @property
    def address(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def start(self) -> Mosquitto:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [self._program, "-v", "-c", str(self._config)], stdout=log, stderr=subprocess.STDOUT
            )
        process = self.process
        until(lambda: accepts(self.port) or process.poll() is not None, "the broker listens")
        assert process.poll() is None, self.log
        return self

    def end(self) -> None:
        """Let it end in good order, and keep what it is to keep."""
        if self.process:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
            self.process = None

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process = None


class Listener:
    """Somebody who subscribes, also across restarts of the broker, and keeps what comes in its order."""

    def __init__(self, port: int, *topics: str, session: str = "", user: str = "", password: str = "") -> None:
        self.port = port
        self.messages: list[MQTTMessage] = []
        self._topics, self._changed, self._ready = topics, threading.Condition(), threading.Event()
        client = Client(CallbackAPIVersion.VERSION2, session, clean_session=not session)
        if user:
            client.username_pw_set(user, password)
        client.reconnect_delay_set(1, 1)
        client.on_connect, client.on_message = self._on_connect, self._on_message
        client.on_subscribe = lambda *_: self._ready.set()
        client.connect("127.0.0.1", port, keepalive=10)
        client.loop_start()
        self.client = client
        assert self._ready.wait(PATIENCE_S), "the subscription is not confirmed"

    def of(self, topic: str) -> list[Any]:
        """Return what came at a topic: JSON as its values, anything else as text."""
        with self._changed:
            return [value_of(message) for message in self.messages if message.topic == topic]

    def last(self, topic: str) -> Any:
        found = self.of(topic)
        return found[-1] if found else None

    def wait_for(self, what: Callable[[], object], why: str = "it comes") -> Any:
        """Wait until something is true of what came, and return it."""
        deadline_s = time.monotonic() + PATIENCE_S
        with self._changed:
            while not (found := what()):
                left_s = deadline_s - time.monotonic()
                topics = sorted({message.topic for message in self.messages})
                assert left_s > 0, f"{why}: not in {PATIENCE_S:g} s; there is {topics}"
                self._changed.wait(min(left_s, 0.05))
        return found

    def say(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENCE_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(
        self, client: Client, data: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        assert not reason.is_failure, reason
        client.subscribe([(topic, 1) for topic in self._topics])

    def _on_message(self, client: Client, data: object, message: MQTTMessage) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()


def value_of(message: MQTTMessage) -> Any:
    text = message.payload.decode()
    try:
        return json.loads(text)
    except ValueError:
        return text


def until(what: Callable[[], object], why: str) -> Any:
    """Wait until something is true, and return it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < deadline_s, f"{why}: not in {PATIENCE_S:g} s"
        time.sleep(0.02)
    return found


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
