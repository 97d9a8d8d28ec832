"""From utterances to recognitions: buckets, encoder and head in one call."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.buckets import Buckets
from edge.bundle import Bundle
from edge.encoder import Encoder
from edge.head import Matrix
from edge.settings import EncoderSettings


@dataclass(frozen=True)
class Recognition:
    """How one utterance sounded."""

    scores: dict[str, float]
    """Label to probability, in the bundle's order."""
    embedding: Matrix
    """``float32[dim]``, free of anything personal."""
    bucket_s: float
    """Padded length the encoder ran at; the longest one for speech that was split."""
    encoder_ms: float
    """Time of the inference that held this utterance, batch mates included."""
    head_ms: float

    @property
    def emotion(self) -> str:
        """The most probable label."""
        return max(self.scores, key=lambda label: self.scores[label])

    @property
    def confidence(self) -> float:
        """Calibrated probability of ``emotion``."""
        return self.scores[self.emotion]


class Recognizer:
    """A bundle ready to run. The constructor is cheap; ``load`` opens and warms the encoder."""

    def __init__(self, bundle: Bundle, settings: EncoderSettings) -> None:
        self.bundle, self.settings = bundle, settings
        self.buckets = Buckets(bundle.manifest.buckets_s)
        self.encoder = Encoder(bundle.encoder_path, bundle.manifest.encoder.embedding_dim, self.buckets, settings)

    def load(self) -> None:
        """Open the encoder's session and warm every bucket; raises ``ModelError``."""
        self.encoder.load()

    def recognize(self, waveforms: Sequence[Waveform]) -> list[Recognition]:
        """Recognise utterances of any length, each ``float32[samples]`` at 16 kHz, batched by length.

        Speech beyond the longest bucket is split into equal parts; its embedding is their mean.
        """
        parts = [part for waveform in waveforms for part in self._split(waveform)]
        lengths = [len(part) for part in parts]
        embeddings = np.empty((len(parts), self.encoder.dim), np.float32)
        elapsed_ms = np.empty(len(parts))
        for batch in self.buckets.plan(lengths, self.settings.max_batch):
            started_s = time.perf_counter()
            embeddings[list(batch.indices)] = self.encoder.embed(
                [parts[index] for index in batch.indices], batch.samples
            )
            elapsed_ms[list(batch.indices)] = (time.perf_counter() - started_s) * 1e3
        recognitions = []
        first = 0
        for waveform in waveforms:
            mine = slice(first, first + len(self._split(waveform)))
            first = mine.stop
            bucket_s = max(self.buckets.fit(length) for length in lengths[mine]) / SAMPLE_RATE_HZ
            recognitions.append(self._decide(embeddings[mine].mean(axis=0), bucket_s, float(elapsed_ms[mine].sum())))
        return recognitions

    def _split(self, waveform: Waveform) -> list[Waveform]:
        parts = -(-len(waveform) // self.buckets.longest)
        return [waveform] if parts <= 1 else np.array_split(waveform, parts)

    def _decide(self, embedding: Matrix, bucket_s: float, encoder_ms: float) -> Recognition:
        started_s = time.perf_counter()
        probabilities = self.bundle.head.probabilities(embedding[None, :])[0]
        scores = {label: float(share) for label, share in zip(self.bundle.manifest.labels, probabilities, strict=True)}
        return Recognition(scores, embedding, bucket_s, encoder_ms, (time.perf_counter() - started_s) * 1e3)
