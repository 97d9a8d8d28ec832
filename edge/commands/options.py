"""The options that several commands share, and the settings they lead to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.commands.entry import set_debug
from edge.errors import UsageError

if TYPE_CHECKING:
    from edge.settings import LoadedSettings

Json = Annotated[bool, typer.Option("--json", help="JSON also on a terminal.", rich_help_panel="Output")]
Bundle = Annotated[
    str | None,
    typer.Option(
        help="Model folder.", metavar="DIR", show_default="the one inside the package", rich_help_panel="Model"
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(help="auto, cpu, cuda or tensorrt.", show_default="auto", rich_help_panel="Model"),
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="Settings file.",
        metavar="FILE",
        show_default="~/.config/affectd/config.toml if it exists",
        rich_help_panel="Settings",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any setting, see affectd config show. Repeatable.",
        metavar="SECTION.KEY=VALUE",
        rich_help_panel="Settings",
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", callback=set_debug, help="Log details and show tracebacks.", rich_help_panel="Output"),
]


def load(config: Path | None, assignments: Sequence[str] | None, options: dict[str, Any]) -> LoadedSettings:
    """Return the settings under what the command line says: ``options`` (None is not given) over ``assignments``.

    Without a ``config`` file, ``$XDG_CONFIG_HOME/affectd/config.toml`` is read if it exists.
    """
    from edge.settings import load_settings  # noqa: PLC0415  (--help does not wait for it)

    overrides: dict[str, Any] = {}
    for assignment in assignments or ():
        key, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment!r} is not SECTION.KEY=VALUE")
        overrides[key.strip()] = value
    overrides |= {key: value for key, value in options.items() if value is not None}
    return load_settings(config or _user_config(), overrides=overrides)


def _user_config() -> Path | None:
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    file = Path(folder, "affectd", "config.toml")
    return file if file.exists() else None
