"""Features of frames to cluster, one vector for every frame of an encoder: MFCC, or the states of one of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import cache
from typing import Protocol

import numpy as np
import torch
from torchaudio.functional import compute_deltas
from torchaudio.transforms import MFCC

from calibrate.cache import weights_sha256
from calibrate.corpora.mfcc import HOP_MS, MELS, WINDOW_MS, mfcc_over_time, new_transform
from calibrate.encoders.base import SpeechEncoder
from calibrate.encoders.batches import one_ahead, plan_batches
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.buckets import pad
from edge.errors import ModelError

COEFFICIENTS = 13
LONGEST_S = 30.0
QUIETEST = 1e-3
"""Deviation of a channel that is not amplified further."""
ROWS_AT_ONCE = 64
"""Rows whose waveforms and features are held together; of waveforms, those of the next ones too."""

Read = Callable[[int], Waveform | None]
"""A row to its waveform ``float32[samples]``, or None for one that cannot be read."""


class FrameFeatures(Protocol):
    """Features of the frames of waveforms."""

    width: int
    """Numbers a frame."""
    described: Sequence[object]
    """All that they depend on, beside the waveforms."""

    def of(self, waveforms: Sequence[Waveform]) -> list[Matrix]:
        """Return ``float32[frames, width]`` of each waveform of a batch, as many frames as the encoder's valid ones."""


class MfccFeatures:
    """MFCC at the frame rate of an encoder, which does not run for them."""

    def __init__(self, encoder: SpeechEncoder) -> None:
        self.encoder, self.width = encoder, 3 * COEFFICIENTS
        rate = (encoder.samples_a_token, encoder.frames_in(SAMPLE_RATE_HZ))
        self.described: Sequence[object] = ("mfcc", COEFFICIENTS, MELS, WINDOW_MS, HOP_MS, *rate)

    def of(self, waveforms: Sequence[Waveform]) -> list[Matrix]:
        """See ``FrameFeatures``."""
        encoder = self.encoder
        return [mfcc_frames(each, encoder.frames_in(len(each)), encoder.samples_a_token) for each in waveforms]


class LayerFeatures:
    """Hidden states of a layer, each channel standardised over the utterance; a copy of the encoder ends there.

    As they are, those of an encoder with a table of positions differ by position first, so that clusters of them tell
    the time and little of the sound; see ``sentence`` and ``tenth`` of ``calibrate.pretraining.quality``.

    Args:
        encoder: stays as it is.
        layer: 0 is the input of the first.

    Raises:
        ModelError: it has no such layer.
    """

    def __init__(self, encoder: SpeechEncoder, layer: int) -> None:
        if not 0 <= layer <= encoder.layers:
            raise ModelError(f"there is no layer {layer} to cluster: the encoder has 0 to {encoder.layers}")
        self.encoder, self.width = deepcopy(encoder).eval(), encoder.width
        self.encoder.truncate(max(1, layer), LONGEST_S)  # some give no state where there is no layer
        self.layer = layer
        self.described: Sequence[object] = ("layer", layer, weights_sha256(self.encoder))

    def of(self, waveforms: Sequence[Waveform]) -> list[Matrix]:
        """See ``FrameFeatures``."""
        lengths = torch.tensor([len(waveform) for waveform in waveforms])
        device = next(self.encoder.parameters()).device
        with torch.inference_mode():
            padded = torch.from_numpy(pad(waveforms, int(lengths.max()))).to(device)
            states, frames = self.encoder(padded, lengths.to(device))
        rows = zip(states[self.layer].cpu().numpy(), frames.tolist(), strict=True)
        return [_standardised(state[:count]) for state, count in rows]


def mfcc_frames(waveform: Waveform, tokens: int, samples_a_token: int) -> Matrix:
    """Return 13 MFCC with their first and second differences, ``float32[tokens, 39]``, of ``float32[samples]``.

    Those of HuBERT's first targets (Hsu et al. 2021, section IV-B): frames every 10 ms, of which the one where a token
    begins is taken. Unlike there, each has zero mean over the utterance, so that clusters tell less of the speaker and
    the room, and more of what is said.
    """
    coefficients = mfcc_over_time(_transform(), waveform)
    deltas = compute_deltas(coefficients)
    features = torch.cat([coefficients, deltas, compute_deltas(deltas)]).T.numpy()
    starts = np.arange(tokens) * samples_a_token * 1000 // (SAMPLE_RATE_HZ * HOP_MS)
    picked = features[np.minimum(starts, len(features) - 1)]
    centred: Matrix = picked - picked.mean(axis=0)
    return centred


def frames_of_rows(
    features: FrameFeatures, read: Read, rows: Sequence[int], batch_s: float
) -> Iterator[tuple[list[int], list[Matrix]]]:
    """Yield ``ROWS_AT_ONCE`` rows after the other with the features ``float32[frames, width]`` of each.

    While some are encoded, in batches of like length, the next ones are read. A row that cannot be read has no frames.
    """
    groups = [list(rows[start : start + ROWS_AT_ONCE]) for start in range(0, len(rows), ROWS_AT_ONCE)]
    with ThreadPoolExecutor(1) as pool:
        for group, waveforms in one_ahead(pool, lambda group: [read(row) for row in group], groups):
            frames = [np.empty((0, features.width), np.float32)] * len(group)
            present = [(place, waveform) for place, waveform in enumerate(waveforms) if waveform is not None]
            for batch in plan_batches([len(waveform) / SAMPLE_RATE_HZ for _, waveform in present], batch_s):
                for index, found in zip(batch, features.of([present[index][1] for index in batch]), strict=True):
                    frames[present[index][0]] = found
            yield group, frames


def _standardised(frames: Matrix) -> Matrix:
    """Return ``float32[frames, width]`` with zero mean and, unless it is constant, unit variance of every channel."""
    centred = frames - frames.mean(axis=0)
    scaled: Matrix = centred / np.maximum(centred.std(axis=0), QUIETEST)
    return scaled


@cache
def _transform() -> MFCC:
    return new_transform(COEFFICIENTS)
