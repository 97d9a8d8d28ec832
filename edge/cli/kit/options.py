"""The options that several commands share, and the settings they lead to."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from edge.cli.kit.entry import set_debug
from edge.errors import UsageError

if TYPE_CHECKING:
    from edge.settings import LoadedSettings

# Options under the headings of the help.
SourceOption = partial(typer.Option, rich_help_panel="Source")
SpeakersOption = partial(typer.Option, rich_help_panel="Speakers")
ModelOption = partial(typer.Option, rich_help_panel="Model")
SettingsOption = partial(typer.Option, rich_help_panel="Settings")
OutputOption = partial(typer.Option, rich_help_panel="Output")

Json = Annotated[bool, OutputOption("--json", help="JSON also on a terminal.")]
Source = Annotated[
    str | None,
    SourceOption(
        help="mic, an audio file, - for standard input (raw 16-bit mono PCM, or WAV, FLAC, MP3, Ogg …), or an address "
        "to wait at: tcp://…, unix:…, ws://…, wyoming://….",
        metavar="mic|PATH|-|ADDRESS",
        show_default="mic",
    ),
]
Rate = Annotated[int | None, SourceOption(help="Sample rate of the raw PCM.", metavar="HZ", show_default="16000")]
Realtime = Annotated[
    bool | None,
    SourceOption(
        "--realtime/--fast",
        help="Play a file at its own speed, or as fast as it can be analysed.",
        show_default="realtime",
    ),
]
Device = Annotated[
    str | None,
    SourceOption(help="Microphone, see affectd devices.", metavar="NAME-OR-INDEX", show_default="the system's default"),
]
Speaker = Annotated[
    list[str] | None,
    SpeakersOption(
        "--speaker",
        help="Everything heard is from this enrolled person; repeated, from one of these.",
        metavar="NAME",
        show_default="anyone, strangers too",
    ),
]
Store = Annotated[
    str | None,
    SpeakersOption(help="Folder of the speaker store.", metavar="DIR", show_default="~/.local/share/affectd"),
]
Yes = Annotated[bool, SpeakersOption("--yes", help="Do not ask.")]
Bundle = Annotated[
    str | None,
    ModelOption(
        help="Model folder, or nano: the smaller one inside the package.",
        metavar="DIR",
        show_default="default, inside the package",
    ),
]
Provider = Annotated[str | None, ModelOption(help="auto, cpu, cuda or tensorrt.", show_default="auto")]
Dashboard = Annotated[
    bool | None,
    OutputOption("--dashboard", help="Show it in a browser, at http://127.0.0.1:8377.", show_default="no"),
]
Config = Annotated[
    Path | None,
    SettingsOption(
        help="Settings file, or one that comes with affectd: gpu, jetson.",
        metavar="FILE",
        show_default="~/.config/affectd/config.toml if it exists",
    ),
]
Set = Annotated[
    list[str] | None,
    SettingsOption("--set", help="Any setting, see affectd config show. Repeatable.", metavar="SECTION.KEY=VALUE"),
]
Debug = Annotated[bool, OutputOption("--debug", callback=set_debug, help="Log details and show tracebacks.")]


SETTINGS: dict[str, tuple[str, Any]] = {
    "source": ("capture.source", Source),
    "rate": ("capture.rate_hz", Rate),
    "realtime": ("capture.realtime", Realtime),
    "device": ("capture.device", Device),
    "speaker": ("speakers.only", Speaker),
    "store": ("speakers.store", Store),
    "bundle": ("encoder.bundle", Bundle),
    "provider": ("encoder.provider", Provider),
    "dashboard": ("web.dashboard", Dashboard),
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

        @wraps(command)
        def run(**given: Any) -> None:
            options = {SETTINGS[name][0]: given.pop(name) for name in names}
            again = partial(load, given.pop("config"), given.pop("set_"), options)
            command(loaded=replace(again(), again=again), **given)

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
    try:
        os.lstat(users)
    except FileNotFoundError:
        return load_settings(overrides=overrides)
    except OSError:
        pass  # it is there, and reading it says what is wrong
    return load_settings(users, overrides=overrides)
