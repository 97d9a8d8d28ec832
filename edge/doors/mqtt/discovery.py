"""What Home Assistant is told of a machine and its sources, so that it has them as devices without a setting.

See https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery: one message for each device.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edge import __version__
from edge.doors.mqtt.state import dumped
from edge.doors.mqtt.topics import NODE, Topics
from edge.errors import encodable

STATES = ("listening", "waiting", "paused", "disconnected", "ended")
DIAGNOSTIC = {"entity_category": "diagnostic"}
Component = dict[str, Any]


def machine_config(topics: Topics) -> str:
    """Return the device of the machine, which those of its sources hang on."""
    rows: dict[str, Component] = {
        "version": {"name": "Version", "icon": "mdi:tag"},
        "bundle": {"name": "Bundle", "icon": "mdi:package-variant"},
        "overload_step": {"name": "Overload step", "icon": "mdi:gauge", "state_class": "measurement"},
        "left_out": {"name": "Left out", "icon": "mdi:speedometer-slow"},
        "lost_s": {
            "name": "Lost audio",
            "device_class": "duration",
            "unit_of_measurement": "s",
            "state_class": "total_increasing",
        },
        "lost_events": {"name": "Lost events", "icon": "mdi:email-off", "state_class": "total_increasing"},
    }
    components = {
        key: {"p": "sensor", "value_template": f"{{{{ value_json.{key} }}}}", **row, **DIAGNOSTIC}
        for key, row in rows.items()
    }
    device = {"ids": [_device_id(topics)], "name": f"affectd {topics.machine}", "sw": __version__}
    return _config(topics, device, components, topics.state)


def source_config(
    topics: Topics, source: str, name: str, labels: Sequence[str], values: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Return the device of a source.

    Args:
        topics: of the machine.
        source: its id.
        name: its name.
        labels: that an answer may have.
        values: that an answer has, as in a manifest: ``name``, ``low``, ``high`` and ``origin``.
    """
    components = {
        "emotion": _sensor("Emotion", "emotion", device_class="enum", options=list(labels), icon="mdi:emoticon"),
        "confidence": _percent("Confidence", "confidence", state_class="measurement", icon="mdi:check-decagram"),
        "speaker": _sensor("Speaker", "speaker", icon="mdi:account-voice"),
        **{value["name"]: _value(value, topics.source_state(source)) for value in values},
        "utterance": {
            "p": "event",
            "name": "Utterance",
            "icon": "mdi:message-text",
            "state_topic": topics.event,
            "event_types": list(labels),
            "value_template": utterance_template(name),
        },
        "listening": {
            "p": "switch",
            "name": "Listening",
            "icon": "mdi:microphone",
            "value_template": "{{ value_json.listening }}",
            "command_topic": topics.switch(source),
        },
        "voice": {
            "p": "binary_sensor",
            "name": "Voice",
            "device_class": "sound",
            "value_template": "{{ value_json.voice }}",
        },
        "room": _percent("Room", "room", icon="mdi:home-sound-in-outline", **DIAGNOSTIC),
        "level": _sensor("Level", "level_dbfs", unit_of_measurement="dBFS", icon="mdi:volume-medium", **DIAGNOSTIC),
        "state": _sensor("State", "state", device_class="enum", options=list(STATES), **DIAGNOSTIC),
        "lost": _sensor("Lost audio", "lost_s", device_class="duration", unit_of_measurement="s", **DIAGNOSTIC),
    }
    device = {
        "ids": [_device_id(topics, source)],
        "name": encodable(name) or source,
        "mdl": "source of affectd",
        "via_device": _device_id(topics),
    }
    return _config(topics, device, components, topics.source_state(source))


def utterance_template(name: str) -> str:
    """Return the template that makes of an event what an event entity takes: of a source's final answers alone."""
    # A JSON string is one of Jinja's as well, unless what is beyond 16 bits were escaped.
    wanted = json.dumps(encodable(name), ensure_ascii=False)
    values = ", ".join(
        f'"{key}": value_json.{field}'
        for key, field in (
            ("event_type", "emotion"),
            ("confidence", "confidence"),
            ("needs_review", "needs_review"),
            ("scores", "scores"),
            ("utterance", "id"),
            ("start_s", "start_s"),
            ("end_s", "end_s"),
        )
    )
    speaker = '"speaker": value_json.speaker.name if value_json.speaker else none'
    is_it = f'value_json.type == "utterance" and value_json.source == {wanted}'
    return f"{{% if {is_it} %}}{{{{ {{{values}, {speaker}}} | to_json }}}}{{% endif %}}"


def _config(topics: Topics, device: Mapping[str, Any], components: Mapping[str, Component], state_topic: str) -> str:
    device_id = device["ids"][0]
    for key, component in components.items():
        component["unique_id"] = f"{device_id}_{key}"
    return dumped(
        {
            "dev": {"mf": "affectd", **device},
            "o": {"name": NODE, "sw": __version__},
            "cmps": components,
            "state_topic": state_topic,
            "availability_topic": topics.availability,
            "qos": 1,
        }
    )


def _device_id(topics: Topics, source: str = "") -> str:
    return f"{NODE}_{topics.machine}_{source}" if source else f"{NODE}_{topics.machine}"


def _sensor(name: str, field: str, **more: Any) -> Component:
    return {"p": "sensor", "name": name, "value_template": f"{{{{ value_json.{field} }}}}", **more}


def _value(value: Mapping[str, Any], state_topic: str) -> Component:
    """Return a sensor without a unit, with its range as attributes; it is unknown before the first answer."""
    name = value["name"]
    # A mapping's own ``values`` would hide the key from ``value_json.values``.
    found = f'(value_json["values"].get("{name}") or {{}}).get("value")'
    return {
        "p": "sensor",
        "name": name.capitalize(),
        "icon": "mdi:tune-variant",
        "state_class": "measurement",
        "value_template": f"{{{{ {found} }}}}",
        "json_attributes_topic": state_topic,
        "json_attributes_template": json.dumps({key: value[key] for key in ("low", "high", "origin")}),
    }


def _percent(name: str, field: str, **more: Any) -> Component:
    """Return a sensor of a share from 0 to 1, which may be missing."""
    value = f"value_json.{field}"
    template = f"{{{{ none if {value} is none else ({value} * 100) | round(1) }}}}"
    return {"p": "sensor", "name": name, "value_template": template, "unit_of_measurement": "%", **more}
