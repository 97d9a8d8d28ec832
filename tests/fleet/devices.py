"""Simulated devices: the door of the product in each, and events as `affectd run` writes them."""

from __future__ import annotations

import logging
import time
from multiprocessing.connection import Connection

from edge.doors.mqtt import open_mqtt
from edge.event import Event, wall_clock
from edge.outputs import Outputs
from edge.settings import MqttSettings
from helpers.houses import LABELS, House

SCORES = dict(zip(LABELS, (0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1), strict=True))
KINDS = ("speech_start", "provisional", "utterance")
"""What each utterance comes to."""
FLUSH_S = 60.0


class Device:
    """A machine with one source."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.door = open_mqtt(MqttSettings(id=name, broker=address), House("room").inside)
        self.outputs = Outputs([self.door], max_events=1_000_000, meters=[])
        self.written = 0
        self.outputs.open()

    def write(self) -> None:
        """Write the next event."""
        kind, utterance = KINDS[self.written % len(KINDS)], self.written // len(KINDS) + 1
        self.written += 1
        event = Event(kind, "room", wall_clock(), self.written, utterance, self.written % len(KINDS), start_s=1.0)
        if kind != "speech_start":
            values = {"end_s": 2.5, "emotion": LABELS[utterance % len(LABELS)], "confidence": 0.4, "scores": SCORES}
            latency_ms = {"endpoint": 510.0, "capture": 0.5, "queue": 0.7, "encoder": 12.6, "total": 510.6}
            event = Event(**{**vars(event), **values, "latency_ms": latency_ms, "provider": "CPUExecutionProvider"})
        self.outputs.write(event)


def run_devices(names: list[str], address: str, orders: Connection) -> None:
    """Be these devices, and do what is ordered: ``("write", events of each, events a second of all)`` or ``("end",)``.

    ``write`` is answered by None, ``end`` by how many events each has written and lost.
    """
    logging.disable()  # that the broker is away is no news here
    devices = [Device(name, address) for name in names]
    while (order := orders.recv())[0] == "write":
        _, events, rate = order
        began_s = time.monotonic()
        for number in range(events * len(devices)):
            if rate:
                time.sleep(max(0.0, began_s + number / rate - time.monotonic()))
            devices[number % len(devices)].write()
        orders.send(None)
    for device in devices:
        device.outputs.close(FLUSH_S)
    orders.send({device.name: (device.written, device.door.lost) for device in devices})
