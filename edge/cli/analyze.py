"""``affectd analyze``."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.kit.display import progress_bar
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json, OutputOption, SourceOption, with_settings

if TYPE_CHECKING:
    from edge.settings import LoadedSettings

app = typer.Typer()


@app.command(
    epilog=examples(
        "affectd analyze interview.wav                  every utterance in it",
        "affectd analyze clips/ --whole-file --csv emotions.csv",
        "affectd analyze a.wav b.mp3 more/ --json | jq .emotion",
        "affectd analyze diary/ --speaker anna          judged by how she usually sounds",
        "affectd analyze meetings/ --room               all recorded in one room, with one microphone",
    )
)
@with_settings("speaker", "store", "bundle", "provider")
def analyze(
    paths: Annotated[list[Path], typer.Argument(help="Audio files, and folders to search.", metavar="PATH...")],
    *,
    whole_file: Annotated[bool, OutputOption("--whole-file", help="Exactly one event per file, in order.")] = False,
    room: Annotated[
        bool, SourceOption("--room", help="All of it is from one room and microphone: learn what they add.")
    ] = False,
    csv: Annotated[
        Path | None,
        OutputOption(
            help="Also write a CSV file, one column per label and value; an earlier one is replaced.", metavar="FILE"
        ),
    ] = None,
    loaded: LoadedSettings,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Analyse recordings in batches: one event per detected utterance, or one per file.

    A file that cannot be read, or does not exist, gets an error event in its place, and one that can be read in part,
    or has no utterance, a status event; the rest go on. The exit code is 1 unless all of it could be read, and 2 when
    there is nothing to analyse at all. A file's events do not depend on other files, unless --room says that they are
    from one room: then on all of them, but not on their order.
    """
    from edge.model import open_model
    from edge.outputs import CsvTable, LiveTable, Output, Outputs, open_output
    from edge.recordings import find_audio

    logging.getLogger("edge.recordings").setLevel(logging.INFO)
    if csv:
        CsvTable.check(csv)
    files = find_audio(paths)
    shown = open_output(json)
    # Rows on the terminal of the bar have to go through its console to stand above it.
    bar = progress_bar(shown.console if isinstance(shown, LiveTable) else None)
    task = bar.add_task("", total=len(files))
    model = open_model(loaded.settings)
    events = model.analyze(
        files, whole_file=whole_file, room=room, progress=lambda read: bar.update(task, completed=read)
    )
    counts = Counter[str]()
    outputs: list[Output] = [shown, CsvTable(csv, model.recognizer.outputs)] if csv else [shown]
    with Outputs(outputs, wait=True) as running, bar:
        running.raise_failure()
        for event in events:
            counts.update(filter(None, (event.type, event.reason)))
            running.write(event)
    running.raise_failure()
    text = f"affectd: {counts['utterance']} utterances in {len(files)} files"
    for kind, what in (("no_speech", "without one"), ("partial", "read in part"), ("error", "could not be read")):
        text += f", {counts[kind]} {what}" if counts[kind] else ""
    print(text, file=sys.stderr)
    raise typer.Exit(1 if counts["error"] or counts["partial"] else 0)
