"""Somebody who collects the events of a whole fleet, as a program at the broker would."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from datetime import datetime

TOPIC = "affectd/+/event"


class Collector:
    """``mosquitto_sub`` with a session that the broker keeps; counts what it gets."""

    def __init__(self, port: int) -> None:
        program = shutil.which("mosquitto_sub")
        if program is None:
            raise SystemExit("mosquitto_sub is not installed (apt install mosquitto-clients)")
        session = ("-i", "collector", "-c", "-q", "1", "-k", "10")
        command = [program, "-p", str(port), *session, "-t", TOPIC, "-F", "%t %p"]
        self.seen: set[tuple[str, int]] = set()
        """Device and number of each event that came."""
        self.arrivals = 0
        """Of events, each as often as it came."""
        self.delays_s: list[float] = []
        """From writing an event to its first arrival here."""
        self.last_at_s = 0.0
        """When the last one came, on the monotonic clock."""
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, events: int, longest_s: float) -> bool:
        """Wait until so many different events have come, and return whether they have."""
        deadline_s = time.monotonic() + longest_s
        while len(self.seen) < events and time.monotonic() < deadline_s:
            time.sleep(0.05)
        return len(self.seen) >= events

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            topic, _, payload = line.decode().partition(" ")
            event = json.loads(payload)
            now_s = time.time()
            key = topic.split("/")[1], event["number"]
            if key not in self.seen:
                self.delays_s.append(now_s - datetime.fromisoformat(event["time"]).timestamp())
            self.seen.add(key)
            self.arrivals += 1
            self.last_at_s = time.monotonic()
