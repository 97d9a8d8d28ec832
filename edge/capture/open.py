"""From settings to a source."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from edge.capture.base import Source
from edge.capture.file import FileSource
from edge.capture.live import LiveSource
from edge.capture.microphone import Microphone
from edge.capture.pcm import PcmSource
from edge.settings import CaptureSettings


def open_source(settings: CaptureSettings) -> Source:
    """Return the source that the settings name: ``mic``, a path, or ``-`` for PCM on standard input.

    With ``realtime`` a source does not wait for its consumer: what does not fit in the queue is lost and counted.
    """
    if settings.source == "mic":
        return Microphone(settings.device, settings.queue_s)
    source: Source
    if settings.source == "-":
        # Unbuffered: a thread that waits inside a buffered standard input aborts the interpreter when it exits.
        stdin = io.FileIO(sys.stdin.fileno(), closefd=False)
        source = PcmSource(stdin, settings.rate_hz, realtime=settings.realtime)
    else:
        source = FileSource(Path(settings.source), settings.realtime)
    return LiveSource(source, settings.queue_s) if settings.realtime else source
