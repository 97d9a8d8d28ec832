"""The options that several commands share, and the settings they lead to."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from edge.cli.kit.entry import set_debug
from edge.errors import UsageError

if TYPE_CHECKING:
    from edge.settings import LoadedSettings

Json = Annotated[bool, typer.Option("--json", help="JSON also on a terminal.", rich_help_panel="Output")]
Source = Annotated[
    str | None,
    typer.Option(
        help="mic, an audio file, or - for raw 16-bit mono PCM on standard input.",
        metavar="mic|PATH|-",
        show_default="mic",
        rich_help_panel="Source",
    ),
]
Rate = Annotated[
    int | None,
    typer.Option(help="Sample rate of the raw PCM.", metavar="HZ", show_default="16000", rich_help_panel="Source"),
]
Realtime = Annotated[
    bool | None,
    typer.Option(
        "--realtime/--fast",
        help="Play a file at its own speed, or as fast as it can be analysed.",
        show_default="realtime",
        rich_help_panel="Source",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="Microphone, see affectd devices.",
        metavar="NAME-OR-INDEX",
        show_default="the system's default",
        rich_help_panel="Source",
    ),
]
Speaker = Annotated[
    list[str] | None,
    typer.Option(
        "--speaker",
        help="Everything heard is from this enrolled person; repeated, from one of these.",
        metavar="NAME",
        show_default="anyone, strangers too",
        rich_help_panel="Speakers",
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        help="Folder of the speaker store.",
        metavar="DIR",
        show_default="~/.local/share/affectd",
        rich_help_panel="Speakers",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.", rich_help_panel="Speakers")]
Bundle = Annotated[
    str | None,
    typer.Option(
        help="Model folder, or nano: the smaller one inside the package.",
        metavar="DIR",
        show_default="default, inside the package",
        rich_help_panel="Model",
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(help="auto, cpu, cuda or tensorrt.", show_default="auto", rich_help_panel="Model"),
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="Settings file, or one that comes with affectd: gpu, jetson.",
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


SETTINGS: dict[str, tuple[str, Any]] = {
    "source": ("capture.source", Source),
    "rate": ("capture.rate_hz", Rate),
    "realtime": ("capture.realtime", Realtime),
    "device": ("capture.device", Device),
    "speaker": ("speakers.only", Speaker),
    "store": ("speakers.store", Store),
    "bundle": ("encoder.bundle", Bundle),
    "provider": ("encoder.provider", Provider),
}
"""Options that stand for a setting: name of the parameter to the setting's key and the option."""


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options ``names`` of ``SETTINGS``, and --config and --set, in place of ``loaded``.

    The command has a parameter ``loaded: LoadedSettings``, which receives what these options come to.
    """
    shared = [_option(name, SETTINGS[name][1]) for name in names] + [_option("config", Config), _option("set_", Set)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, localns={"LoadedSettings": object}, include_extras=True)
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            own = parameter.replace(annotation=hints[parameter.name])
            parameters += shared if parameter.name == "loaded" else [own]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            options = {SETTINGS[name][0]: given.pop(name) for name in names}
            command(loaded=load(given.pop("config"), given.pop("set_"), options), **given)

        # Where typer reads what options there are.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _option(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def load(config: Path | None, assignments: Sequence[str] | None, options: dict[str, Any]) -> LoadedSettings:
    """Return the settings under what the command line says: ``options`` (None is not given) over ``assignments``.

    Without a ``config`` file, ``config.toml`` in the user's folder of settings is read if it exists.
    """
    from edge.folders import config_folder
    from edge.settings import load_settings
    from edge.shipped import find_config

    overrides: dict[str, Any] = {}
    for assignment in assignments or ():
        key, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment!r} is not SECTION.KEY=VALUE")
        overrides[key.strip()] = value
    overrides |= {key: value for key, value in options.items() if value is not None}
    if config:
        return load_settings(find_config(config, "--config"), overrides=overrides)
    users = config_folder() / "config.toml"
    return load_settings(users if users.exists() else None, overrides=overrides)
