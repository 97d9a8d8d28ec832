"""The ``affectd`` command as a whole. Exit codes are in ``edge.errors``."""

from __future__ import annotations

from typing import Annotated

import typer

from edge import __version__
from edge.cli import (
    analyze,
    config,
    control,
    demo,
    devices,
    doctor,
    enroll,
    history,
    profile,
    rooms,
    run,
    service,
    speakers,
)
from edge.cli.kit.entry import examples, new_app

app = new_app(
    "affectd",
    "On-device speech emotion: who spoke and how they sounded. No audio leaves this machine.",
    examples(
        "affectd run                          listen to the default microphone",
        "affectd analyze recordings/ --csv emotions.csv",
        "affectd enroll anna                  get to know a voice, at the microphone",
        "affectd doctor                       is everything in place?",
        "affectd profile                      where does the time go?",
    ),
)
for command in (run, control, analyze, enroll, demo, profile, devices, doctor):
    app.add_typer(command.app)
app.add_typer(speakers.app, name="speakers")
app.add_typer(rooms.app, name="rooms")
app.add_typer(history.app, name="history")
app.add_typer(service.app, name="service")
app.add_typer(config.app, name="config")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"affectd {__version__}")
        raise typer.Exit


@app.callback()
def affectd(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before any command."""
