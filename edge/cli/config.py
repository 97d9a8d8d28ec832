"""``affectd config``."""

from __future__ import annotations

import json as json_format
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from edge.cli.kit.display import new_table, print_json, print_table
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json, with_settings

if TYPE_CHECKING:
    from edge.settings import LoadedSettings

HIDDEN = "(set)"

app = typer.Typer(help="Settings: what they are, what they mean, where they come from.", no_args_is_help=True)


@app.command(
    epilog=examples("affectd config show", "AFFECTD_VAD_AGGRESSIVENESS=3 affectd config show --set vad.gate_dbfs=-50")
)
@with_settings()
def show(*, loaded: LoadedSettings, json: Json = False, debug: Debug = False) -> None:
    """Show every setting: its value, where that comes from, and what it means.

    The command line wins over AFFECTD_SECTION_KEY in the environment, then the settings file, then the default.
    Passwords and tokens are not shown.
    """
    from edge.docstrings import field_docstrings
    from edge.settings.section import is_secret

    rows: dict[str, dict[str, Any]] = {}
    for key, origin in loaded.origins.items():
        section, *number, name = key.split(".")
        values = getattr(loaded.settings, section)
        if number:
            values = values[int(number[0])]
        field, value = type(values).model_fields[name], getattr(values, name)
        shown = HIDDEN if value and is_secret(field) else value
        rows[key] = {"value": shown, "origin": origin, "description": field_docstrings(type(values))[name]}
    if json:
        print_json(rows)
        return
    table = new_table("setting", "value", "origin", "meaning")
    for name, row in rows.items():
        table.add_row(
            name,
            Text(json_format.dumps(row["value"])),
            Text(row["origin"]),
            Text(" ".join(row["description"].replace("`", "").split())),
            style="" if row["origin"] == "default" else "bold",
        )
    print_table(table)
