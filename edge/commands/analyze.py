"""``affectd analyze``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from edge.analyze import analyze, find_audio
from edge.bundle import Bundle
from edge.errors import UsageError
from edge.outputs import CsvTable, LiveTable, Output, open_output
from edge.people.household import Household
from edge.recognizer import Recognizer
from edge.settings import Settings


def analyze_files(
    paths: Sequence[Path], settings: Settings, whole_file: bool, json: bool, csv_file: Path | None
) -> int:
    """Analyse files and folders; return the exit code, 1 when a file could not be read."""
    files = find_audio(paths)
    recognizer = Recognizer(Bundle.load(settings.encoder.bundle_folder), settings.encoder)
    household = Household(recognizer.bundle, settings.speakers)
    household.load()
    recognizer.load(household.wants_voiceprints)
    for name, reason in household.unknown().items():
        print(f"affectd: {name} {reason}", file=sys.stderr)
    counts = {"utterance": 0, "error": 0}
    with ExitStack() as stack:
        outputs: list[Output] = [open_output(json)]
        if csv_file:
            stream = stack.enter_context(_open_csv(csv_file))
            outputs.append(CsvTable(stream, recognizer.bundle.manifest.labels))
        progress = stack.enter_context(_progress(outputs[0]))
        for event in analyze(progress.track(files), recognizer, household, settings, whole_file):
            counts[event.type] += 1
            for output in outputs:
                output.write(event)
    text = f"affectd: {counts['utterance']} utterances in {len(files)} files"
    print(f"{text}, {counts['error']} could not be read" if counts["error"] else text, file=sys.stderr)
    return 1 if counts["error"] else 0


def _open_csv(file: Path) -> TextIO:
    try:
        return file.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from None


def _progress(output: Output) -> Progress:
    """Return a bar that vanishes; rows on the same terminal have to go through its console to stand above it."""
    console = output.console if isinstance(output, LiveTable) else Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
