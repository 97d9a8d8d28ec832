"""The first inference of a fresh process, as ``python -m``: encoder settings as JSON on standard input."""

from __future__ import annotations

import sys
import time

import numpy as np

from edge.bundle import Bundle
from edge.encoder import Encoder
from edge.settings import EncoderSettings


def main() -> None:
    """Print the milliseconds that the shortest bucket takes before anything is warm."""
    settings = EncoderSettings.model_validate_json(sys.stdin.buffer.read())
    encoder = Encoder.of(Bundle.load(settings.bundle_folder), settings)
    encoder.open()
    shortest = encoder.buckets.samples[0]
    silence = np.zeros(shortest, np.float32)
    started_s = time.perf_counter()
    encoder.embed([silence], shortest)
    print((time.perf_counter() - started_s) * 1e3)


if __name__ == "__main__":
    main()
