"""From utterances to encodings: buckets and both encoders in one call. Nothing here depends on who is enrolled."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from edge.encoder import Encoder, SpeakerEncoder
from edge.providers import PROVIDERS
from edge.settings import EncoderSettings


@dataclass(frozen=True)
class Encoding:
    """What the encoders made of one utterance."""

    embedding: Matrix
    """``float32[dim]``, free of anything personal."""
    voiceprint: Matrix | None
    """``float32[voiceprint_dim]`` of unit length; None when it was not wanted."""
    duration_s: float
    bucket_s: float
    """Padded length the encoder ran at; the longest one for speech that was split."""
    encoder_ms: float
    """Time of the inference that held this utterance, batch mates included."""
    speaker_ms: float
    """Time of its voiceprint, 0 without."""
    provider: str
    """Execution provider that the encoder really ran on."""


class Recognizer:
    """A bundle ready to run. The constructor is cheap; ``load`` opens and warms the encoders."""

    def __init__(self, bundle: Bundle, settings: EncoderSettings) -> None:
        self.bundle, self.settings = bundle, settings
        self.buckets = bundle.buckets
        self.encoder = Encoder.of(bundle, settings)
        self.speaker_encoder: SpeakerEncoder | None = None
        self._loaded = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of labels and values, for the columns of a table."""
        manifest = self.bundle.manifest
        return (*manifest.labels, *(value.name for value in manifest.values))

    def load(self, voiceprints: bool = False, every_bucket: bool = False) -> None:
        """Open the encoder's session and warm it, see ``Encoder.load``; with ``voiceprints`` the speaker encoder's too.

        What is loaded already stays as it is, so that engines can share a recogniser.

        Raises:
            ModelError: a graph does not load, or voiceprints are wanted from a bundle without a speaker encoder.
        """
        if voiceprints:
            self._load_speaker_encoder()  # before the other, since opening it takes the most memory
        if not self._loaded:
            self.encoder.load(every_bucket)
            self._loaded = True

    def encode(self, waveforms: Sequence[Waveform], voiceprints: bool = False) -> list[Encoding]:
        """Encode utterances of any length, each ``float32[samples]`` at 16 kHz, batched by length.

        Speech beyond the longest bucket is split into equal parts; its embedding is their mean. The speaker encoder
        runs an utterance at a time, and is loaded when it is first wanted.
        """
        parts = [part for waveform in waveforms for part in self._split(waveform)]
        lengths = [len(part) for part in parts]
        embeddings = np.empty((len(parts), self.encoder.dim), np.float32)
        elapsed_ms = np.empty(len(parts))
        # On a CPU more at a time takes memory, and saves no time.
        most = self.buckets.longest if self.encoder.provider == PROVIDERS["cpu"] else None
        for batch in self.buckets.plan(lengths, self.settings.max_batch, most):
            started_s = time.perf_counter()
            embeddings[list(batch.indices)] = self.encoder.embed(
                [parts[index] for index in batch.indices], batch.samples
            )
            elapsed_ms[list(batch.indices)] = (time.perf_counter() - started_s) * 1e3
        speaker_encoder = self._load_speaker_encoder() if voiceprints else None
        encodings = []
        first = 0
        for waveform in waveforms:
            mine = slice(first, first + len(self._split(waveform)))
            first = mine.stop
            started_s = time.perf_counter()
            voiceprint = speaker_encoder.voiceprint(waveform) if speaker_encoder else None
            encodings.append(
                Encoding(
                    embedding=embeddings[mine].mean(axis=0),
                    voiceprint=voiceprint,
                    duration_s=len(waveform) / SAMPLE_RATE_HZ,
                    bucket_s=max(self.buckets.fit(length) for length in lengths[mine]) / SAMPLE_RATE_HZ,
                    encoder_ms=float(elapsed_ms[mine].sum()),
                    speaker_ms=(time.perf_counter() - started_s) * 1e3 if speaker_encoder else 0.0,
                    provider=self.encoder.provider,
                )
            )
        return encodings

    def probabilities(self, waveforms: Sequence[Waveform]) -> Matrix:
        """Return ``float32[n, labels]`` as for strangers, in the order of the bundle's labels."""
        return self.bundle.head.probabilities(self.embeddings(waveforms))

    def values(self, waveforms: Sequence[Waveform]) -> Matrix:
        """Return ``float32[n, values]`` in the same way; no columns where the bundle answers labels only."""
        readout = self.bundle.head.values
        return readout.estimate(self.embeddings(waveforms)) if readout else np.zeros((len(waveforms), 0), np.float32)

    def embeddings(self, waveforms: Sequence[Waveform]) -> Matrix:
        """Return ``float32[n, dim]``, free of anything personal."""
        embeddings = [encoding.embedding for encoding in self.encode(waveforms)]
        return np.array(embeddings, np.float32).reshape(-1, self.encoder.dim)

    def _split(self, waveform: Waveform) -> list[Waveform]:
        parts = -(-len(waveform) // self.buckets.longest)
        return [waveform] if parts <= 1 else np.array_split(waveform, parts)

    def _load_speaker_encoder(self) -> SpeakerEncoder:
        if self.speaker_encoder is None:
            encoder = SpeakerEncoder.of(self.bundle, self.settings)
            encoder.load()
            self.speaker_encoder = encoder
        return self.speaker_encoder
