"""``affectd run``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json, with_settings
from edge.cli.kit.signals import stop_on_signals

if TYPE_CHECKING:
    from edge.control import TimingServer
    from edge.recognizer import Recognizer
    from edge.settings import LoadedSettings

logger = logging.getLogger(__name__)
app = typer.Typer()


@app.command(
    epilog=examples(
        "affectd run                                    the default microphone",
        "affectd run --source talk.flac --fast --json   a file, at full speed",
        "arecord -q -f S16_LE -r 16000 | affectd run --source -",
        "affectd run --speaker anna --speaker bo        one of these two speaks, see affectd enroll",
        "affectd run --set segmenter.end_silence_s=0.3  final answers sooner, split more",
        "affectd run --json --set partials.every_s=1    and how they sound while they speak",
    )
)
@with_settings("source", "rate", "realtime", "device", "speaker", "store", "bundle", "provider")
def run(*, loaded: LoadedSettings, json: Json = False, debug: Debug = False) -> None:
    """Listen, and report how each utterance sounded: provisionally in a pause, finally when it is over. Ctrl-C ends it.

    A table on a terminal, JSON lines (one event per line) in a pipe or with --json.
    """
    from edge.listening import listen
    from edge.model import open_model
    from edge.outputs import open_outputs

    model = open_model(loaded.settings)
    outputs = open_outputs(model.settings.outputs, model.labels, json)
    with _timing_server(model.recognizer) as server:
        listening = listen(model=model, outputs=outputs, observers=[server.send])
        with stop_on_signals(listening.stop):
            print(f"affectd: {listening.run()}", file=sys.stderr)


@contextmanager
def _timing_server(recognizer: Recognizer) -> Iterator[TimingServer]:
    """Open the socket for ``affectd profile --attach``; without one there is just nothing to attach to."""
    from edge.control import TimingServer
    from edge.profiling.facts import model_facts

    server = TimingServer(
        lambda: model_facts(recognizer.bundle, recognizer.settings, recognizer.encoder.provider).model_dump()
    )
    try:
        server.open()
    except OSError as error:
        logger.warning("affectd profile cannot attach: %s", error)
    try:
        yield server
    finally:
        server.close()
