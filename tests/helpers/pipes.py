"""Audio for a named pipe."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

from edge.audio import Waveform

PATIENCE_S = 30


def feed(pipe: Path, samples: Waveform, stop: threading.Event | None = None) -> threading.Thread:
    """Write audio into a named pipe, which its reader takes in real time, and then hold it open until ``stop``."""
    pcm = (np.clip(samples / 4, -1, 1) * 32_767).astype("<i2").tobytes()

    def write() -> None:
        with suppress(BrokenPipeError), pipe.open("wb", buffering=0) as stream:
            for start in range(0, len(pcm), 960):
                stream.write(pcm[start : start + 960])
            if stop:
                stop.wait(PATIENCE_S)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread
