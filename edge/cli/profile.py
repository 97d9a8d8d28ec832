"""``affectd profile``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from edge.cli.kit.display import new_table, say, screen
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Config, Debug, ModelOption, OutputOption, Provider, Set, Speaker, Store, load
from edge.errors import UsageError

if TYPE_CHECKING:
    from edge.profiling.compare import Comparison
    from edge.profiling.measurements import Profile
    from edge.profiling.request import ProfileRequest
    from edge.profiling.tables import TextTable
    from edge.settings import Settings

MARKS = {
    "page": (b"<!DOCTYPE html>", b"<title>affectd profile"),
    "trace": (b'{"traceEvents": ',),
    "settings file": (b"# affectd profile --sweep",),
}
"""By which an output of an earlier call is known, which is replaced."""
MeasurementOption = partial(typer.Option, rich_help_panel="Measurement")
app = typer.Typer()


@app.command(
    epilog=examples(
        "affectd profile                               this machine, on the example recordings",
        "affectd profile talk.flac --html report.html --json > now.json",
        "affectd profile --compare before.json         what has changed, and is it more than noise?",
        "affectd profile --attach --duration 60        of the affectd run that is running",
        "affectd profile --attach 4711                 of one of several, until Ctrl-C",
        "affectd profile --trace trace.json            for ui.perfetto.dev",
        "affectd profile --sweep --bundle small/ --bundle big/ --out best.toml",
        "affectd run --config best.toml",
    )
)
def profile(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="Recordings, and folders to search; with --attach the process id of an affectd run.",
            metavar="AUDIO|PID",
            show_default="examples/, or a built-in signal; the only affectd run",
        ),
    ] = None,
    *,
    attach: Annotated[
        bool, MeasurementOption("--attach", help="Watch an affectd run of yours that is running.")
    ] = False,
    duration: Annotated[
        float | None,
        MeasurementOption(
            help="How long to watch.", metavar="SECONDS", min=0, show_default="until Ctrl-C; 20 for --streams"
        ),
    ] = None,
    sweep: Annotated[bool, MeasurementOption("--sweep", help="Find the best settings for this machine.")] = False,
    overhead: Annotated[bool, MeasurementOption("--overhead", help="Measure what profiling itself costs.")] = False,
    streams: Annotated[
        str | None,
        MeasurementOption(
            help="How many sources does one core serve? Numbers to try, each for --duration.",
            metavar="N,N",
            show_default="none",
        ),
    ] = None,
    batches: Annotated[str, MeasurementOption(help="Utterances per inference.", metavar="N,N")] = "1,8",
    rounds: Annotated[
        int, MeasurementOption(help="Everything is measured in turn, this often; cold starts too.", min=1)
    ] = 5,
    plays: Annotated[int, MeasurementOption(help="How often the recordings are played.", min=1)] = 1,
    json: Annotated[
        bool, OutputOption("--json", help="The report as JSON on standard output, with every sample.")
    ] = False,
    html: Annotated[Path | None, OutputOption(help="Write a page with plots, in one file.", metavar="FILE")] = None,
    compare: Annotated[
        Path | None, OutputOption(help="Show the change since an earlier --json.", metavar="OLD.json")
    ] = None,
    trace: Annotated[
        Path | None,
        OutputOption(
            help="Play the first recording once more, and write a Chrome trace with onnxruntime's profile in it.",
            metavar="FILE",
        ),
    ] = None,
    out: Annotated[Path | None, OutputOption(help="Settings file for the best of --sweep.", metavar="FILE")] = None,
    speaker: Speaker = None,
    store: Store = None,
    bundle: Annotated[
        list[str] | None,
        ModelOption(
            help="Model folder. Repeatable for --sweep.", metavar="DIR", show_default="the one inside the package"
        ),
    ] = None,
    provider: Provider = None,
    config: Config = None,
    set_: Set = None,
    debug: Debug = False,
) -> None:
    """Measure where the time goes, from the microphone to the event.

    Plays recordings through the real pipeline in real time, then runs every length and batch size by itself, and
    starts affectd run afresh some times. Medians come with p90, p99, the maximum and n; RTF is time spent per time of
    audio. provisional is the time from the end of speech to the answer; endpoint is the silence that makes it final,
    and answer is everything after that. Nothing is written unless a file is asked for, and no profile of a speaker
    changes.

    --attach reports the same stages of an affectd run at work. What it sends is durations only: no names, no emotions.
    """
    from edge.profiling.request import ProfileRequest

    options = {
        "speakers.only": speaker,
        "speakers.store": store,
        "encoder.bundle": bundle[0] if bundle else None,
        "encoder.provider": provider,
    }
    request = ProfileRequest(
        arguments=tuple(arguments or ()),
        attach=attach,
        duration_s=duration,
        sweep=sweep,
        overhead=overhead,
        streams=_numbers("--streams", streams) if streams is not None else (),
        batches=_numbers("--batches", batches),
        rounds=rounds,
        plays=plays,
        json=json,
        html=html,
        trace=trace,
        compare=compare,
        out=out,
        bundles=tuple(bundle or ()),
    )
    _profile(request, load(config, set_, options).settings)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(number) for number in text.split(",")}))
    except ValueError:
        raise UsageError(f"{option} {text!r} is not numbers separated by commas") from None


def _profile(request: ProfileRequest, settings: Settings) -> None:
    """Measure, and write what is asked for."""
    from edge.files import check_replaceable, check_writable, write_file
    from edge.profiling.compare import compare
    from edge.profiling.measurements import read_profile
    from edge.profiling.modes import measure
    from edge.profiling.page import page

    request.check()
    old = read_profile(request.compare) if request.compare else None
    outputs = {"page": request.html, "trace": request.trace, "settings file": request.out}
    for kind, path in outputs.items():
        if path:
            check_replaceable(path, f"{kind} of affectd profile", *MARKS[kind])
    check_writable(outputs.values())
    found = measure(request, settings, _show_progress)
    _show_progress("")
    comparison = compare(old, found) if old else None
    _print(found, comparison, as_json=request.json)
    if request.html:
        write_file(request.html, page(found, comparison))


def _show_progress(text: str) -> None:
    """Show on a terminal what is being measured, in a line that the next one replaces.

    No spinner: a thread that draws would be measured as well.
    """
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _print(found: Profile, comparison: Comparison | None, as_json: bool) -> None:
    from edge.profiling.tables import comparison_table, facts_table, profile_tables

    if as_json:
        sys.stdout.write(found.to_json())
    else:
        for table in (facts_table(found), *profile_tables(found, every_length=False)):
            _print_table(table, screen())
    if comparison:
        console = Console(stderr=True) if as_json else screen()
        _print_table(comparison_table(comparison, every_length=False), console)
        for warning in comparison.warnings:
            say(f"compared with another setup: {warning}")


def _print_table(text: TextTable, console: Console) -> None:
    """Print a table; on a narrow terminal without what the rows mean, or else as a list, so that every figure is there.

    Without heads it is a list already.
    """
    for fitting in (text, text.without_meanings()):
        table = _table(fitting)
        natural = Measurement.get(console, console.options.update(max_width=10 * console.width), table).maximum
        if not any(text.heads) or natural <= console.width:
            break
    else:
        table = _table(text.as_list())
    console.print(table)


def _table(text: TextTable) -> Table:
    table = new_table(*text.heads)
    table.title, table.title_justify = text.title, "left"
    table.show_header = any(text.heads)
    for column in table.columns[text.numbers_from : -1 if text.heads[-1] == "" else None]:
        column.justify = "right"
        column.no_wrap = True
    for index, row in enumerate(text.rows):
        table.add_row(*map(Text, row), style="bold" if index in text.bold else "")
    return table
