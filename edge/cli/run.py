"""``affectd run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.kit.display import say
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json, OutputOption, with_settings
from edge.cli.kit.signals import reload_on_hangup, stop_on_signals

if TYPE_CHECKING:
    from edge.settings import LoadedSettings

app = typer.Typer()


@app.command(
    epilog=examples(
        "affectd run                                    the default microphone",
        "affectd run --source talk.flac --fast --json   a file, at full speed",
        "arecord -q -f S16_LE -r 16000 | affectd run --source -",
        "affectd run --speaker anna --speaker bo        one of these two speaks, see affectd enroll",
        "affectd run --set segmenter.end_silence_s=0.3  final answers sooner, split more",
        "affectd run --dashboard                        also as a page at http://127.0.0.1:8377",
        "affectd run --json --set partials.every_s=1    and how they sound while they speak",
    )
)
@with_settings("source", "rate", "realtime", "device", "speaker", "store", "bundle", "provider", "dashboard")
def run(
    *,
    loaded: LoadedSettings,
    debug_audio: Annotated[
        Path | None,
        OutputOption(
            help="Write each utterance into this folder, as WAV: to find faults, and with the consent of everybody who "
            "is heard. Otherwise no audio is written.",
            metavar="DIR",
            show_default="none",
        ),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Listen, and report how each utterance sounded: provisionally in a pause, finally when it is over. Ctrl-C ends it.

    A table on a terminal, JSON lines (one event per line) in a pipe or with --json. While it runs, affectd status says
    what it does, and affectd pause, resume and reload change it.
    """
    from edge.daemon.daemon import Daemon
    from edge.model import open_model

    if debug_audio:
        say(f"every utterance is written to {debug_audio}")
    daemon = Daemon(open_model(loaded.settings), loaded, json, debug_audio=debug_audio)
    if loaded.settings.web.dashboard:
        say(f"the dashboard will be at http://{loaded.settings.web.listens_at}")
    with stop_on_signals(daemon.stop), reload_on_hangup(daemon.reload):
        print(f"affectd: {daemon.run()}", file=sys.stderr)
