"""Events to an MQTT broker."""

from __future__ import annotations

from edge.doors.inside import Inside
from edge.event import Event
from edge.settings import MqttSettings


class MqttDoor:
    """Events to an MQTT broker."""

    name = "mqtt"

    def __init__(self, settings: MqttSettings, inside: Inside) -> None:
        self._settings, self._inside = settings, inside

    def open(self) -> None:
        """Open."""

    def write(self, event: Event) -> None:
        """Deliver."""

    def close(self) -> None:
        """Close."""
