"""``affectd doctor``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from edge.cli.kit.display import new_table, print_json, print_table
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json, with_settings

if TYPE_CHECKING:
    from edge.settings import LoadedSettings

app = typer.Typer()


@app.command(
    epilog=examples(
        "affectd doctor                       will affectd run work?",
        "affectd doctor --provider cuda --json",
        "affectd doctor --source talk.flac    without a microphone",
    )
)
@with_settings("source", "device", "speaker", "store", "bundle", "provider")
def doctor(*, loaded: LoadedSettings, json: Json = False, debug: Debug = False) -> None:
    """Try out everything a run needs, and say what is missing.

    Exit code 1 when affectd run would fail with these options and settings, for want of a microphone too.
    """
    from edge.diagnosis import Verdict
    from edge.doctor import diagnose

    checks = diagnose(loaded)
    if json:
        print_json([asdict(check) for check in checks])
    else:
        marks = {Verdict.GOOD: ("✓", "green"), Verdict.ABSENT: ("○", "yellow"), Verdict.BROKEN: ("✗", "red")}
        table = new_table("", "check", "found")
        for check in checks:
            table.add_row(Text(*marks[check.verdict]), check.name, Text(check.found))
        print_table(table)
    raise typer.Exit(int(any(check.verdict is Verdict.BROKEN for check in checks)))
