"""``affectd run``."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from edge.bundle import Bundle
from edge.capture import open_source
from edge.control import TimingServer
from edge.outputs import open_output
from edge.pipeline import Pipeline
from edge.profiling.facts import model_facts
from edge.recognizer import Recognizer
from edge.settings import Settings

logger = logging.getLogger(__name__)


def run(settings: Settings, json: bool) -> None:
    """Run the pipeline until its source ends or the process is asked to stop, then print a summary to stderr."""
    recognizer = Recognizer(Bundle.load(settings.encoder.bundle_folder), settings.encoder)
    with _timing_server(recognizer) as server:
        pipeline = Pipeline(open_source(settings.capture), recognizer, open_output(json), settings, server.tell)
        _stop_on_signals(pipeline)
        print(f"affectd: {pipeline.run()}", file=sys.stderr)


@contextmanager
def _timing_server(recognizer: Recognizer) -> Iterator[TimingServer]:
    """Open the socket for ``affectd profile --attach``; without one there is just nothing to attach to."""
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


def _stop_on_signals(pipeline: Pipeline) -> None:
    def stop(number: int, _frame: FrameType | None) -> None:
        # A second signal does not wait for a source that hangs.
        signal.signal(number, signal.SIG_DFL)
        pipeline.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
