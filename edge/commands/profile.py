"""``affectd profile``: what is measured, and where the report goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from edge.bundle import Bundle
from edge.cli.kit.display import new_table, say, screen
from edge.control import Attachment, attach
from edge.errors import UsageError
from edge.event import wall_clock
from edge.people.conversation import Conversation
from edge.people.household import Household
from edge.profiling.compare import compare
from edge.profiling.direct import direct_rows
from edge.profiling.facts import Model, model_facts, peak_mb, this_machine
from edge.profiling.overhead import measure_overhead
from edge.profiling.page import page
from edge.profiling.replay import recordings, replay
from edge.profiling.report import Report, Row, check_writable, read_report, readable, write_text
from edge.profiling.sensors import Sensors
from edge.profiling.stages import pipeline_rows
from edge.profiling.startup import start_rows
from edge.profiling.sweep import as_settings, sweep
from edge.profiling.trace import trace_replay
from edge.profiling.wish import Wish
from edge.profiling.words import Words, comparison_words, facts_words, report_words
from edge.providers import PROVIDERS
from edge.recognizer import Recognizer
from edge.settings import Settings
from edge.timing import Timing


def profile(wish: Wish, settings: Settings) -> None:
    """Measure, and report."""
    wish.check()
    old = read_report(wish.compare) if wish.compare else None
    json_file = Path(wish.json) if wish.json not in (None, "-") else None
    check_writable([json_file, wish.html, wish.trace, wish.out])
    with Sensors() as sensors:
        measure = _attached if wish.attach else _swept if wish.sweep else _overhead if wish.overhead else _replayed
        report = measure(wish, settings)
    progress("")
    notes = (*report.notes, sensors.note)
    report = report.model_copy(update={"sensors": sensors.sensors(), "notes": notes})
    comparison = compare(old, report) if old else None
    if wish.json == "-":
        sys.stdout.write(report.to_json())
    else:
        for words in (facts_words(report), *report_words(report, every_length=False)):
            _print(words, screen())
    if comparison:
        _print(comparison_words(comparison, every_length=False), Console(stderr=True) if wish.json == "-" else screen())
    for warning in comparison.warnings if comparison else ():
        say(f"compared with another setup: {warning}")
    if json_file:
        write_text(report.to_json(), json_file)
    if wish.html:
        write_text(page(report, comparison), wish.html)


def progress(text: str) -> None:
    """Tell on a terminal what is being measured, in a line that the next one replaces.

    No spinner: a thread that draws would be measured as well.
    """
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _replayed(wish: Wish, settings: Settings) -> Report:
    bundle = Bundle.load(settings.encoder.bundle_folder)
    household = Household(bundle, settings.speakers)
    household.load()
    batching = settings.encoder.model_copy(update={"max_batch": max(*wish.batches, settings.encoder.max_batch)})
    recognizer = Recognizer(bundle, batching)
    recognizer.load(bundle.manifest.speaker is not None)
    with recordings([Path(argument) for argument in wish.arguments]) as files:
        rows = start_rows(settings, wish.rounds, progress)
        played = replay(files, bundle, settings, wish.plays, progress)
        rows += pipeline_rows(played.rounds)
        rows += direct_rows(recognizer, Conversation(household), settings, wish.batches, wish.rounds, progress)
        if wish.trace:
            progress(f"playing {files[0].name} once more, for the trace")
            write_text(json.dumps(trace_replay(files[0], bundle, settings)), wish.trace)
    return Report(
        time=wall_clock(),
        mode="replay",
        machine=this_machine(),
        model=model_facts(bundle, settings.encoder, recognizer.encoder.provider),
        audio=tuple(readable(file.name) for file in files),
        audio_s=played.audio_s,
        rows=tuple(rows),
        notes=(*map(readable, played.notes), str(household)),
    )


def _attached(wish: Wish, _settings: Settings) -> Report:
    attachment = attach(_pid(wish.arguments))
    timings: list[Timing] = []
    try:
        model = Model.model_validate(attachment.greeting)
        _collect(attachment, wish.duration_s, timings)
    except ValidationError:
        raise UsageError(f"process {attachment.pid} is an affectd run of another version") from None
    finally:
        memory_mb = peak_mb(attachment.pid)
        attachment.close()
    rows = pipeline_rows([timings])
    if memory_mb is not None:
        rows.append(Row(part="pipeline", stage="peak memory", unit="MB", rounds=((memory_mb,),)))
    return Report(
        time=wall_clock(),
        mode="attached",
        machine=this_machine(),
        model=model,
        audio_s=sum(timing.heard_s for timing in timings),
        rows=tuple(rows),
        notes=(f"attached to process {attachment.pid}", *_losses(timings)),
    )


def _losses(timings: Sequence[Timing]) -> list[str]:
    """Return what the figures cannot show, since it was never measured."""
    if not timings:
        return ["no utterance was heard"]
    skipped, lost_s = timings[-1].skipped - timings[0].skipped, timings[-1].lost_s - timings[0].lost_s
    return [f"{skipped} utterances skipped, {lost_s:.1f} s lost"] if skipped or lost_s else []


def _collect(attachment: Attachment, duration_s: float | None, timings: list[Timing]) -> None:
    """Add timings until the duration is over, the other process ends, or Ctrl-C."""
    limit = "Ctrl-C ends it" if duration_s is None else f"for {duration_s:g} s"
    progress(f"attached to process {attachment.pid}, {limit}")
    try:
        for timing in attachment.timings(duration_s):
            timings.append(timing)
            progress(f"attached to process {attachment.pid}, {limit}: {len(timings)} utterances")
    except KeyboardInterrupt:
        pass


def _swept(wish: Wish, settings: Settings) -> Report:
    folders: list[Path | None] = [Path(bundle).expanduser() for bundle in wish.bundles]
    folders = folders or [settings.encoder.bundle_folder]
    bundles = [Bundle.load(folder) for folder in folders]
    found = sweep(bundles, settings.encoder, wish.batches, wish.rounds, progress)
    machine, time, best = this_machine(), wall_clock(), found.best
    chosen = {bundle.encoder_hash: folder for bundle, folder in zip(bundles, folders, strict=True) if folder}
    if wish.out:
        write_text(as_settings(found, machine, time, chosen), wish.out)
    failures = [
        f"{candidate.name} cannot run: {candidate.failure}" for candidate in found.candidates if candidate.failure
    ]
    model = model_facts(best.bundle, best.settings, PROVIDERS[best.settings.provider])
    return Report(
        time=time,
        mode="sweep",
        machine=machine,
        model=model.model_copy(update={"max_batch": found.max_batch}),
        rows=tuple(row for candidate in found.candidates for row in candidate.rows()),
        notes=(f"best: {best.name}, batches of up to {found.max_batch}", *failures),
    )


def _overhead(wish: Wish, settings: Settings) -> Report:
    bundle = Bundle.load(settings.encoder.bundle_folder)
    with recordings([Path(argument) for argument in wish.arguments]) as files:
        found = measure_overhead(files, bundle, settings, wish.rounds, progress)
    return Report(
        time=wall_clock(),
        mode="overhead",
        machine=this_machine(),
        model=model_facts(bundle, settings.encoder, found.provider),
        audio=tuple(readable(file.name) for file in files),
        rows=found.rows,
        notes=(
            f"the profiler costs {found.percent:+.2f} % of the CPU time (99 %: {found.low:+.2f} … {found.high:+.2f}); "
            f"by itself, telling of utterances is {found.tell_percent:.2f} % of it",
        ),
    )


def _pid(arguments: Sequence[str]) -> int | None:
    """Return the process id among the arguments, if there is one."""
    if not arguments:
        return None
    if len(arguments) > 1 or not arguments[0].isdecimal():
        raise UsageError(f"--attach takes one process id, not {' '.join(arguments)!r}")
    return int(arguments[0])


def _print(words: Words, console: Console) -> None:
    table = new_table(*words.heads)
    table.title, table.title_justify = words.title, "left"
    table.show_header = any(words.heads)
    for column in table.columns[words.numbers_from : -1 if words.heads[-1] == "" else None]:
        column.justify = "right"
        column.no_wrap = True
    for index, row in enumerate(words.rows):
        table.add_row(*map(Text, row), style="bold" if index in words.bold else "")
    console.print(table)
