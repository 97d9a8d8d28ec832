"""From settings to doors."""

from __future__ import annotations

from edge.doors.inside import Inside
from edge.errors import UsageError
from edge.outputs import Output
from edge.settings import MqttSettings, Settings, WebSettings

DoorSettings = WebSettings | MqttSettings
Door = Output
"""A door gets every event, as an output; it opens, or fails, in a thread of its own."""


def wanted_doors(settings: Settings) -> list[DoorSettings]:
    """Return the settings of those doors that are wanted."""
    doors: list[DoorSettings] = []
    if settings.web.listens_at:
        doors.append(settings.web)
    if settings.mqtt.broker:
        doors.append(settings.mqtt)
    return doors


def open_door(settings: DoorSettings, inside: Inside) -> Door:
    """Return a door that is not open yet.

    Raises:
        UsageError: its settings contradict each other, or a package is missing.
    """
    if isinstance(settings, WebSettings):
        try:
            from edge.doors.web import web_door  # noqa: PLC0415  (an optional extra)
        except ModuleNotFoundError as error:
            raise UsageError(f"web.address needs the package {error.name}: pip install 'affectd[web]'") from None
        return web_door(settings, inside)
    from edge.doors.mqtt import open_mqtt  # noqa: PLC0415  (an optional extra)

    return open_mqtt(settings, inside)
