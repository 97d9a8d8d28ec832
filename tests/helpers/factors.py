"""Speakers drawn from the factor model, so that the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calibrate.corpora import Utterance
from calibrate.dataset import Part
from edge.adapt import PSEUDO_CLIPS
from edge.arrays import Matrix
from edge.head import Head
from edge.population import Population

LABELS = ("neutral", "happy", "sad", "angry")
DIM = 12
SPEAKER_DEVIATION = 0.5
NOISE_DEVIATION = SPEAKER_DEVIATION * PSEUDO_CLIPS**0.5


class World:
    """``z = mean + u + shift + noise`` with independent directions; every speaker is new."""

    def __init__(self, seed: int = 0, speaker: float = SPEAKER_DEVIATION, noise: float = NOISE_DEVIATION) -> None:
        """Seed the draws; ``speaker`` and ``noise`` are standard deviations, by default as the estimate expects."""
        self.rng = np.random.default_rng(seed)
        self.deviations = speaker, noise
        self.mean = self.rng.normal(size=DIM).astype(np.float32)
        shifts = 2.5 * np.eye(len(LABELS), DIM)
        self.shifts = (shifts - shifts.mean(axis=0)).astype(np.float32)

    def speaker(self) -> Matrix:
        """Return an offset ``float32[dim]``."""
        return (self.deviations[0] * self.rng.normal(size=DIM)).astype(np.float32)

    def clips(self, offset: Matrix, labels: Sequence[int]) -> Matrix:
        """Return ``float32[clips, dim]``, one for each label."""
        noise = self.deviations[1] * self.rng.normal(size=(len(labels), DIM))
        return (self.mean + offset + self.shifts[list(labels)] + noise).astype(np.float32)

    def head(self) -> Head:
        """Return the classifier that is best for whoever speaks."""
        speaker, noise = self.deviations
        weight = (self.shifts / (speaker**2 + noise**2)).astype(np.float32)
        return Head(weight, (-weight @ self.mean).astype(np.float32), temperature=1.0)

    def population(self) -> Population:
        """Return the truth as a population."""
        offsets = np.stack([self.speaker() for _ in range(20)])
        return Population(
            labels=LABELS,
            mean=self.mean,
            shifts=self.shifts,
            offsets=offsets,
            label_shares=np.full((20, len(LABELS)), 1 / len(LABELS), np.float32),
            contrast=np.zeros((0, DIM), np.float32),
            head_prior=np.full(len(LABELS), 1 / len(LABELS), np.float32),
        )

    def part(self, speakers: int, takes: int, corpus: str = "world") -> tuple[Part, Matrix, Matrix]:
        """Return utterances of new speakers, their embeddings, and the speakers' offsets ``float32[speakers, dim]``."""
        labels = np.tile(np.arange(len(LABELS)), takes)
        offsets = np.stack([self.speaker() for _ in range(speakers)])
        utterances = [
            Utterance(path=Path(f"{index}.wav"), corpus=corpus, speaker=f"{corpus}-{name:02d}", emotion=LABELS[label])
            for name in range(speakers)
            for index, label in enumerate(labels)
        ]
        embeddings = np.concatenate([self.clips(offset, labels.tolist()) for offset in offsets])
        return Part(utterances, np.tile(labels, speakers)), embeddings, offsets
