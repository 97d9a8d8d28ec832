"""``affectd profile``: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from edge.cli.kit.options import Config, Debug, Provider, Set, Speaker, Store, load
from edge.errors import UsageError

app = typer.Typer()


@app.command(
    epilog=examples(
        "affectd profile                               this machine, on the example recordings",
        "affectd profile talk.flac --html report.html --json now.json",
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
        bool,
        typer.Option("--attach", help="Watch an affectd run of yours that is running.", rich_help_panel="Measurement"),
    ] = False,
    duration: Annotated[
        float | None,
        typer.Option(
            help="How long to watch.",
            metavar="SECONDS",
            min=0,
            show_default="until Ctrl-C",
            rich_help_panel="Measurement",
        ),
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="Find the best settings for this machine.", rich_help_panel="Measurement"),
    ] = False,
    overhead: Annotated[
        bool,
        typer.Option("--overhead", help="Measure what profiling itself costs.", rich_help_panel="Measurement"),
    ] = False,
    batches: Annotated[
        str, typer.Option(help="Utterances per inference.", metavar="N,N", rich_help_panel="Measurement")
    ] = "1,8",
    rounds: Annotated[
        int,
        typer.Option(
            help="Everything is measured in turn, this often; cold starts too.", min=1, rich_help_panel="Measurement"
        ),
    ] = 5,
    plays: Annotated[
        int, typer.Option(help="How often the recordings are played.", min=1, rich_help_panel="Measurement")
    ] = 1,
    json: Annotated[
        str | None,
        typer.Option(help="Write the report, with every sample.", metavar="FILE|-", rich_help_panel="Output"),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a page with plots, in one file.", metavar="FILE", rich_help_panel="Output"),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="Show the change since an earlier --json.", metavar="OLD.json", rich_help_panel="Output"),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Play the first recording once more, and write a Chrome trace with onnxruntime's profile in it.",
            metavar="FILE",
            rich_help_panel="Output",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Settings file for the best of --sweep.", metavar="FILE", rich_help_panel="Output"),
    ] = None,
    speaker: Speaker = None,
    store: Store = None,
    bundle: Annotated[
        list[str] | None,
        typer.Option(
            help="Model folder. Repeatable for --sweep.",
            metavar="DIR",
            show_default="the one inside the package",
            rich_help_panel="Model",
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
    audio. endpoint is the silence that ends an utterance; answer is everything after it. Nothing is written unless a
    file is asked for, and no profile of a speaker changes.

    --attach reports the same stages of an affectd run at work. What it sends is durations only: no names, no emotions.
    """
    from edge.commands.profile import profile as measure
    from edge.profiling.request import ProfileRequest

    options = {
        "speakers.only": speaker,
        "speakers.store": store,
        "encoder.bundle": bundle[0] if bundle else None,
        "encoder.provider": provider,
    }
    try:
        sizes = tuple(sorted({int(size) for size in batches.split(",")}))
    except ValueError:
        raise UsageError(f"--batches {batches!r} is not numbers separated by commas") from None
    request = ProfileRequest(
        arguments=tuple(arguments or ()),
        attach=attach,
        duration_s=duration,
        sweep=sweep,
        overhead=overhead,
        batches=sizes,
        rounds=rounds,
        plays=plays,
        json=json,
        html=html,
        trace=trace,
        compare=compare,
        out=out,
        bundles=tuple(bundle or ()),
    )
    measure(request, load(config, set_, options).settings)
