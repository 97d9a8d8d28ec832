"""The first inference of a fresh process, as ``python -m``: encoder settings as JSON on standard input."""

from __future__ import annotations

import sys
import time

import numpy.typing as npt
from numpy import int64

from edge.arrays import Matrix
from edge.audio import Waveform
from edge.buckets import Buckets
from edge.bundle import Bundle
from edge.encoder import Encoder
from edge.settings import EncoderSettings


class TimedEncoder(Encoder):
    """An encoder that keeps the time of each inference, in milliseconds."""

    def __init__(self, bundle: Bundle, settings: EncoderSettings) -> None:
        manifest = bundle.manifest
        super().__init__(bundle.encoder_path, manifest.encoder.embedding_dim, Buckets(manifest.buckets_s), settings)
        self.inferences_ms: list[float] = []

    def embed_padded(self, padded: Waveform, lengths: npt.NDArray[int64]) -> Matrix:
        """See ``Encoder``."""
        started_s = time.perf_counter()
        embeddings = super().embed_padded(padded, lengths)
        self.inferences_ms.append((time.perf_counter() - started_s) * 1e3)
        return embeddings


def main() -> None:
    """Print the milliseconds that the shortest bucket takes before anything is warm."""
    settings = EncoderSettings.model_validate_json(sys.stdin.buffer.read())
    encoder = TimedEncoder(Bundle.load(settings.bundle_folder), settings)
    encoder.load()
    print(encoder.inferences_ms[0])


if __name__ == "__main__":
    main()
