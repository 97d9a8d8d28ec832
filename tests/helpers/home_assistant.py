"""Home Assistant with a broker and nothing else, run by a Python that has it: ``home_assistant.py PORT FOLDER``.

Each line of standard input is a command, which is answered by a line of JSON with all that it knows: ``states``, or a
service to call before, and its entity, as ``switch.turn_off switch.hall_listening``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

from homeassistant import auth, bootstrap, loader
from homeassistant.config_entries import ConfigEntries, ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry
from homeassistant.setup import async_setup_component


async def started(port: int, folder: Path) -> HomeAssistant:
    """Return it with a broker, and nothing else."""
    (folder / "configuration.yaml").touch()
    hass = HomeAssistant(str(folder))
    loader.async_setup(hass)
    hass.config_entries = ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth.auth_manager_from_config(hass, [], [])
    await async_setup_component(hass, "homeassistant", {})
    await hass.async_start()
    entry = ConfigEntry(
        data={"broker": "127.0.0.1", "port": port, "protocol": "3.1.1"},
        discovery_keys=MappingProxyType({}),
        domain="mqtt",
        minor_version=2,
        options={},
        source="user",
        subentries_data=None,
        title="broker",
        unique_id=None,
        version=1,
    )
    await hass.config_entries.async_add(entry)
    assert entry.state.value == "loaded", entry.state
    return hass


def states(hass: HomeAssistant) -> dict[str, Any]:
    """Return what it knows: entities, and devices with what they hang on."""
    devices = device_registry.async_get(hass).devices
    names = {device.id: device.name for device in devices.values()}
    return {
        "entities": {state.entity_id: [state.state, dict(state.attributes)] for state in hass.states.async_all()},
        "devices": {device.name: names.get(device.via_device_id or "") for device in devices.values()},
    }


async def main() -> None:
    hass = await started(int(sys.argv[1]), Path(sys.argv[2]))
    lines: asyncio.StreamReader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while command := (await lines.readline()).decode().split():
        await hass.async_block_till_done()
        if command != ["states"]:
            domain, service = command[0].split(".")
            await hass.services.async_call(domain, service, {"entity_id": command[1]}, blocking=True)
        print(json.dumps(states(hass), default=str), flush=True)
    await hass.async_stop(force=True)


if __name__ == "__main__":
    asyncio.run(main())
