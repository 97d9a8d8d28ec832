"""``affectd run``."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from edge.bundle import Bundle
from edge.capture import open_source
from edge.output import open_output
from edge.pipeline import Pipeline
from edge.recognizer import Recognizer
from edge.settings import Settings


def run(settings: Settings, json: bool) -> None:
    """Run the pipeline until its source ends or the process is asked to stop, then print a summary to stderr."""
    recognizer = Recognizer(Bundle.load(settings.encoder.bundle_folder), settings.encoder)
    pipeline = Pipeline(open_source(settings.capture), recognizer, open_output(json), settings)
    _stop_on_signals(pipeline)
    print(f"affectd: {pipeline.run()}", file=sys.stderr)


def _stop_on_signals(pipeline: Pipeline) -> None:
    def stop(number: int, _frame: FrameType | None) -> None:
        # A second signal does not wait for a source that hangs.
        signal.signal(number, signal.SIG_DFL)
        pipeline.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
