"""``affectd devices``, ``affectd doctor`` and ``affectd config show``: tables for people, JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rich.text import Text

from edge.capture.devices import list_devices
from edge.cli.kit.display import new_table, print_json, screen
from edge.doctor import Verdict, diagnose
from edge.settings import LoadedSettings, Settings

MARKS = {Verdict.GOOD: ("✓", "green"), Verdict.ABSENT: ("○", "yellow"), Verdict.BROKEN: ("✗", "red")}


def show_devices(as_json: bool) -> None:
    """Print the microphones."""
    devices = list_devices()
    if as_json:
        print_json([asdict(device) for device in devices])
        return
    table = new_table("index", "name", "rate", "channels", "host API")
    for device in devices:
        name = f"{device.name} (default)" if device.is_default else device.name
        table.add_row(str(device.index), Text(name), f"{device.rate_hz} Hz", str(device.channels), device.host_api)
    screen().print(table if devices else "no microphones")


def show_diagnosis(loaded: LoadedSettings, as_json: bool) -> int:
    """Print the diagnosis; return the exit code, 1 when something that is needed is broken."""
    checks = diagnose(loaded)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        table = new_table("", "check", "found")
        for check in checks:
            mark, style = MARKS[check.verdict]
            table.add_row(Text(mark, style), check.name, Text(check.found))
        screen().print(table)
    return int(any(check.verdict is Verdict.BROKEN for check in checks))


def show_config(loaded: LoadedSettings, as_json: bool) -> None:
    """Print every setting with its value, where that came from, and what it means."""
    rows: dict[str, dict[str, Any]] = {}
    for section, values in loaded.settings:
        for key, value in values:
            description = Settings.model_fields[section].default.__class__.model_fields[key].description
            name = f"{section}.{key}"
            rows[name] = {"value": value, "origin": loaded.origins[name], "description": description}
    if as_json:
        print_json(rows)
        return
    table = new_table("setting", "value", "origin", "meaning")
    for name, row in rows.items():
        style = "" if row["origin"] == "default" else "bold"
        table.add_row(
            name,
            Text(json.dumps(row["value"])),
            Text(row["origin"]),
            Text(row["description"].replace("``", "")),
            style=style,
        )
    screen().print(table)
