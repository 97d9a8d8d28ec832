"""``affectd devices``."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.text import Text

from edge.cli.kit.display import new_table, print_json, print_table
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json

app = typer.Typer()


@app.command(epilog=examples("affectd devices", "affectd run --device 'USB'"))
def devices(*, json: Json = False, debug: Debug = False) -> None:
    """List the microphones."""
    from edge.capture.devices import list_devices

    microphones = list_devices()
    if json:
        print_json([asdict(device) for device in microphones])
        return
    if not microphones:
        print("no microphones")
        return
    table = new_table("index", "name", "rate", "channels", "host API")
    for device in microphones:
        name = f"{device.name} (default)" if device.is_default else device.name
        table.add_row(str(device.index), Text(name), f"{device.rate_hz} Hz", str(device.channels), device.host_api)
    print_table(table)
