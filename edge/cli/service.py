"""``affectd service``: ``affectd run`` as a systemd service of the user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from edge.cli.kit.display import new_table, print_json, say, screen
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Config, Debug, Json, OutputOption, SettingsOption, SpeakersOption, load
from edge.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from edge.daemon.systemd import ServiceState
    from edge.settings import LoadedSettings

Force = Annotated[bool, OutputOption("--force", help="Also a unit that affectd did not write.")]
app = typer.Typer(
    help="affectd run as a service of yours, by systemd: install, status, logs, remove.",
    no_args_is_help=True,
    epilog=examples(
        "affectd service install          listen from now on, and whenever you log in",
        "affectd service status           does it listen?",
        "affectd service logs -f          what it hears, and what went wrong",
        "systemctl --user reload affectd  read the settings again, without losing a word",
    ),
)


@app.command(
    epilog=examples(
        "affectd service install --config kiosk.toml",
        "affectd service install --dry-run          only show the unit",
    )
)
def install(
    config: Config = None,
    key: Annotated[
        Path | None,
        SpeakersOption(help="File with the store's key, as a systemd credential.", metavar="FILE", show_default="none"),
    ] = None,
    *,
    dry_run: Annotated[bool, SettingsOption("--dry-run", help="Print the unit, and change nothing.")] = False,
    start: Annotated[bool, SettingsOption("--start/--no-start", help="Start it, now and at every login.")] = True,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Check the settings as affectd run would, write a systemd user unit for them, and start it.

    Installed again, it replaces the unit and starts anew.
    """
    from edge.daemon.installation import unit_for
    from edge.daemon.systemd import check_manager, systemctl
    from edge.daemon.unit import NAME, unit_path
    from edge.files import write_file
    from edge.shipped import find_config

    loaded = load(config, None, {})
    text = unit_for(loaded, find_config(config, "--config") if config else None, key).text()
    if dry_run:
        print(text, end="")
        return
    if start:
        check_manager()
    path = unit_path()
    if path.exists():
        _check_ours(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text)
    if not start:
        say(f"{path} is written; systemctl --user enable --now {NAME} starts it")
        return
    systemctl("daemon-reload")
    systemctl("enable", NAME)
    # Whether it was running or not; it may take a while to be ready, or wait for a microphone.
    systemctl("restart", "--no-block", NAME)
    say(f"{path} is written and started; affectd service status says when it listens")
    _say_what_follows(loaded)


@app.command(epilog=examples("affectd service status --json | jq -r .state"))
def status(json: Json = False, debug: Debug = False) -> None:
    """Say whether the service listens, since when, and what it does. Exit code 1 when it does not."""
    from dataclasses import asdict

    from edge.daemon.systemd import LOG_COMMAND, service_state
    from edge.daemon.unit import unit_path

    state = service_state()
    log = " ".join(LOG_COMMAND)
    if json:
        print_json({"installed": state is not None, **(asdict(state) if state else {}), "log": log})
    elif state is None:
        say(f"no service is installed, as {unit_path()}: affectd service install")
    else:
        table = new_table("", "")
        table.show_header = False
        for name, found in (*_facts(state).items(), ("log", f"affectd service logs, or {log}")):
            table.add_row(name, Text(found))
        screen().print(table)
    raise typer.Exit(0 if state and state.is_listening else ExitCode.FAILED)


@app.command(epilog=examples("affectd service logs -f", "affectd service logs -n 1000 | grep error"))
def logs(
    follow: Annotated[bool, OutputOption("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, OutputOption("-n", "--lines", min=0, help="How many to begin with.", metavar="N")] = 50,
    debug: Debug = False,
) -> None:
    """Show what the service wrote into the journal: messages, and events that go to no file."""
    from edge.daemon.systemd import LOG_COMMAND, NO_SYSTEMD

    arguments = [*LOG_COMMAND, f"--lines={lines}", *(["--follow"] if follow else [])]
    try:
        os.execvp(arguments[0], arguments)
    except FileNotFoundError:
        raise UsageError(NO_SYSTEMD) from None


@app.command(epilog=examples("affectd service remove"))
def remove(force: Force = False, debug: Debug = False) -> None:
    """Stop the service and delete its unit. Settings, people and rooms stay."""
    from edge.daemon.systemd import check_manager, systemctl
    from edge.daemon.unit import NAME, unit_path

    path = unit_path()
    if not path.exists():
        raise UsageError(f"no service is installed: there is no {path}")
    _check_ours(path, force)
    check_manager()
    systemctl("disable", "--now", NAME)
    path.unlink()
    systemctl("daemon-reload")
    say(f"the service is stopped, and {path} deleted; settings, people and rooms stay")


def _check_ours(path: Path, force: bool) -> None:
    from edge.daemon.unit import MARK

    if not force and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise UsageError(f"{path} was not written by affectd, and stays as it is without --force")


def _say_what_follows(loaded: LoadedSettings) -> None:
    from edge.daemon.systemd import lingers

    outputs = loaded.settings.outputs
    if not outputs or any(output.is_shown for output in outputs):
        say("events go to the journal, as JSON lines; [[outputs]] in the settings can name a file")
    for output in outputs:
        if output.path and output.type != "journal":
            say(f"{output.path} begins anew whenever the service starts; an output of type journal goes on")
    if not lingers():
        say("it stops when you log out: loginctl enable-linger lets it run from the start of the machine")


def _facts(state: ServiceState) -> dict[str, str]:
    from datetime import datetime

    since = f"{datetime.fromisoformat(state.since):%Y-%m-%d %H:%M:%S}" if state.since else "—"
    facts = {
        "state": f"{state.state} ({state.detail})",
        "since": since,
        "restarts": str(state.restarts),
        "status": state.status or "—",
    }
    if not state.is_listening and state.result != "success":
        facts["ended by"] = state.result
    if state.memory_mb is not None:
        facts["memory"] = f"{state.memory_mb:.0f} MB"
    facts["starts at login"] = "yes" if state.enabled else "no"
    return facts
