"""The speech that an encoder is pre-trained on: who speaks in which recording, what is spoken in it, and batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from calibrate.corpora import Utterance
from calibrate.dataset import Rows
from calibrate.encoders.batches import plan_batches
from calibrate.training.audio_store import AudioStore
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.errors import AudioFileError, UsageError

logger = logging.getLogger(__name__)

SHORTEST_S = 0.5
"""Of what is spoken; in less, next to everything would be masked."""
POOL = 16
"""Batches that are drawn together and sorted by length, so that little is padded and every epoch is another."""


@dataclass(frozen=True)
class Recordings:
    """Unlabelled speech, and its speakers."""

    utterances: list[Utterance]
    audio: AudioStore
    samples: Rows
    """``int64[n]``: of what is spoken in each."""
    speakers: list[str]
    """Everyone, sorted."""
    speaker: Rows
    """``int64[n]``: which of them each is by."""

    @classmethod
    def open(cls, utterances: Sequence[Utterance], audio: AudioStore) -> Recordings:
        """Read every recording once; what cannot be read, or is too short, is left out and logged.

        Raises:
            UsageError: nothing is left.
        """

        def length(utterance: Utterance) -> int:
            try:
                return len(audio.read(utterance.path, spoken_only=True))
            except AudioFileError as error:
                logger.warning("%s", error)
                return 0

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            samples = np.array(list(pool.map(length, utterances)), np.int64)
        kept = np.flatnonzero(samples >= round(SHORTEST_S * SAMPLE_RATE_HZ))
        if not len(kept):
            raise UsageError(f"none of {len(utterances)} recordings holds {SHORTEST_S:g} s of speech")
        if len(kept) < len(utterances):
            logger.warning("%d recordings have less than %g s of speech", len(utterances) - len(kept), SHORTEST_S)
        chosen = [utterances[row] for row in kept.tolist()]
        speakers, speaker = np.unique([utterance.speaker for utterance in chosen], return_inverse=True)
        return cls(chosen, audio, samples[kept], speakers.tolist(), speaker.astype(np.int64))

    def select(self, rows: Rows) -> Recordings:
        """Return some of the recordings, ``int64[n]``, and only their speakers."""
        chosen = [self.utterances[row] for row in rows.tolist()]
        kept, speaker = np.unique(self.speaker[rows], return_inverse=True)
        names = [self.speakers[each] for each in kept.tolist()]
        return Recordings(chosen, self.audio, self.samples[rows], names, speaker.astype(np.int64))

    def read(self, row: int) -> Waveform:
        """Return what is spoken in a recording, ``float32[samples]``."""
        return self.audio.read(self.utterances[row].path, spoken_only=True)

    def held_out(self, share: float, seed: int) -> tuple[Rows, Rows]:
        """Draw a share of everyone's recordings, at least one of whoever has two; return the others, then these."""
        rng = np.random.default_rng([seed, 0])
        drawn = np.zeros(len(self.samples), np.bool_)
        for speaker in range(len(self.speakers)):
            rows = rng.permutation(np.flatnonzero(self.speaker == speaker))
            drawn[rows[: min(len(rows) - 1, max(1, round(share * len(rows))))]] = True
        if not drawn.any():
            drawn[rng.permutation(len(drawn))[: max(1, round(share * len(drawn)))]] = True
        return np.flatnonzero(~drawn), np.flatnonzero(drawn)

    def batches(self, rows: Rows, batch_s: float, max_s: float, seed: tuple[int, int] | None = None) -> list[Rows]:
        """Plan batches that hold every row once: shortest first, or in the order of a seed."""
        lengths_s = np.minimum(self.samples[rows] / SAMPLE_RATE_HZ, max_s)
        if seed is None:
            return [rows[batch] for batch in plan_batches(lengths_s.tolist(), batch_s)]
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(rows))
        pools = max(1, round(float(lengths_s.sum()) / (batch_s * POOL)))
        planned = [rows[batch] for pool in np.array_split(order, pools) for batch in _plan(pool, lengths_s, batch_s)]
        return [planned[place] for place in rng.permutation(len(planned))]


def _plan(pool: Rows, lengths_s: np.ndarray, batch_s: float) -> Iterator[Rows]:
    for batch in plan_batches(lengths_s[pool].tolist(), batch_s):
        yield pool[batch]
