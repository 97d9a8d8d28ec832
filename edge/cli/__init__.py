"""The ``affectd`` command: its options and exit codes. Each command's work is imported when it is called.

Exit codes: 0 fine; 1 audio that cannot be read, a failed ``doctor``, a refused consent or nothing to enrol; 2 usage;
3 model; 4 audio devices; 5 store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge import __version__
from edge.cli.enroll import ENROLL_EXAMPLES, enroll
from edge.cli.kit.entry import examples, launch, new_app
from edge.cli.kit.options import (
    Bundle,
    Config,
    Debug,
    Device,
    Json,
    Provider,
    Rate,
    Realtime,
    Set,
    Source,
    Speaker,
    Store,
    load,
)
from edge.cli.profile import PROFILE_EXAMPLES, profile
from edge.cli.speakers import speakers_app

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
config_app = typer.Typer(help="Settings: what they are, what they mean, where they come from.", no_args_is_help=True)
app.add_typer(speakers_app, name="speakers")
app.add_typer(config_app, name="config")


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


@app.command(
    epilog=examples(
        "affectd run                                    the default microphone",
        "affectd run --source talk.flac --fast --json   a file, at full speed",
        "arecord -q -f S16_LE -r 16000 | affectd run --source -",
        "affectd run --speaker anna --speaker bo        one of these two speaks, see affectd enroll",
        "affectd run --set segmenter.end_silence_s=0.3  answer sooner, split more",
    )
)
def run(
    *,
    source: Source = None,
    rate: Rate = None,
    realtime: Realtime = None,
    device: Device = None,
    speaker: Speaker = None,
    store: Store = None,
    bundle: Bundle = None,
    provider: Provider = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Listen, and tell how each utterance sounded as soon as it is over. Ctrl-C ends it.

    A table on a terminal, JSON lines (one event per line) in a pipe or with --json.
    """
    from edge.commands.run import run as run_pipeline

    options = {
        "capture.source": source,
        "capture.rate_hz": rate,
        "capture.realtime": realtime,
        "capture.device": device,
        "speakers.only": speaker,
        "speakers.store": store,
        "encoder.bundle": bundle,
        "encoder.provider": provider,
    }
    run_pipeline(load(config, set_, options).settings, json)


@app.command(
    epilog=examples(
        "affectd analyze interview.wav                  every utterance in it",
        "affectd analyze clips/ --whole-file --csv emotions.csv",
        "affectd analyze a.wav b.mp3 more/ --json | jq .emotion",
        "affectd analyze diary/ --speaker anna          judged by how she usually sounds",
    )
)
def analyze(
    paths: Annotated[list[Path], typer.Argument(help="Audio files, and folders to search.", metavar="PATH...")],
    *,
    whole_file: Annotated[
        bool, typer.Option("--whole-file", help="Exactly one event per file, in order.", rich_help_panel="Output")
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option(help="Also write a CSV file, one column per label.", metavar="FILE", rich_help_panel="Output"),
    ] = None,
    speaker: Speaker = None,
    store: Store = None,
    bundle: Bundle = None,
    provider: Provider = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Analyse recordings in batches: one event per detected utterance, or one per file.

    A file that cannot be read, or does not exist, gets an error event in its place; the rest go on and the exit code
    is 1. When there is nothing to analyse at all it is 2.
    """
    from edge.commands.analyze import analyze_files

    options = {
        "speakers.only": speaker,
        "speakers.store": store,
        "encoder.bundle": bundle,
        "encoder.provider": provider,
    }
    raise typer.Exit(analyze_files(paths, load(config, set_, options).settings, whole_file, json, csv))


app.command(epilog=ENROLL_EXAMPLES)(enroll)
app.command(epilog=PROFILE_EXAMPLES)(profile)


@app.command(epilog=examples("affectd devices", "affectd run --device 'USB'"))
def devices(*, json: Json = False, debug: Debug = False) -> None:
    """List the microphones."""
    from edge.commands.show import show_devices

    show_devices(json)


@app.command(epilog=examples("affectd doctor", "affectd doctor --provider cuda --json"))
def doctor(
    *,
    bundle: Bundle = None,
    provider: Provider = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Try out everything a run needs, and say what is missing. Exit code 1 when something needed is broken."""
    from edge.commands.show import show_diagnosis

    options = {"encoder.bundle": bundle, "encoder.provider": provider}
    raise typer.Exit(show_diagnosis(load(config, set_, options), json))


@config_app.command(
    epilog=examples("affectd config show", "AFFECTD_VAD_AGGRESSIVENESS=3 affectd config show --set vad.gate_dbfs=-50")
)
def show(*, config: Config = None, set_: Set = None, json: Json = False, debug: Debug = False) -> None:
    """Show every setting: its value, where that comes from, and what it means.

    The command line wins over AFFECTD_SECTION_KEY in the environment, then the settings file, then the default.
    """
    from edge.commands.show import show_config

    show_config(load(config, set_, {}), json)


def main() -> None:
    """Run the command line and exit with its code."""
    launch(app, "affectd")
