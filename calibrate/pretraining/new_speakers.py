"""The embedding of somebody whom pre-training has not met, from a few recordings of theirs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from calibrate.dataset import Rows
from calibrate.encoders.batches import plan_batches
from calibrate.encoders.logmel import frame_mask
from calibrate.pretraining.prediction import MaskedPrediction
from calibrate.pretraining.pretrainer import make_batch
from calibrate.pretraining.quality import FrameClasses
from calibrate.pretraining.recordings import Recordings
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.buckets import pad

SIMILAR_SPEAKERS = 5
"""Whose embeddings are averaged."""
STEPS, STEP_RATE = 20, 5e-3
"""Of Adam on the embedding alone."""
BATCH_S = 48.0


def voice_of(model: MaskedPrediction, waveforms: Sequence[Waveform]) -> Matrix:
    """Return the mean of the last states of what somebody has said, ``float32[width]``; not told who it is."""
    device = model.clusters.device
    total, frames = np.zeros(model.encoder.width), 0
    for batch in plan_batches([len(waveform) / SAMPLE_RATE_HZ for waveform in waveforms], BATCH_S):
        lengths = torch.tensor([len(waveforms[row]) for row in batch])
        padded = torch.from_numpy(pad([waveforms[row] for row in batch], int(lengths.max())))
        with torch.inference_mode():
            states, valid = model.encoder(padded.to(device), lengths.to(device))
            inside = frame_mask(valid, states[-1])
            total += states[-1][inside].double().sum(0).cpu().numpy()
        frames += int(valid.sum())
    return (total / max(1, frames)).astype(np.float32)


def similar_embedding(voice: Matrix, voices: Matrix, embeddings: Matrix, count: int = SIMILAR_SPEAKERS) -> Matrix:
    """Return the mean embedding of the known speakers whose voices are most like somebody's.

    Args:
        voice: of the new speaker, ``float32[width]``.
        voices: of the known ones, ``float32[speakers, width]``; the cosine is taken after their mean.
        embeddings: of the known ones, ``float32[speakers, width]``.
        count: how many are averaged.
    """
    mean = voices.mean(axis=0)
    apart, own = voices - mean, voice - mean
    cosines = apart @ own / np.maximum(np.linalg.norm(apart, axis=1) * np.linalg.norm(own), 1e-12)
    most: Matrix = embeddings[np.argsort(-cosines, kind="stable")[:count]].mean(axis=0)
    return most


def fitted_embedding(
    model: MaskedPrediction,
    recordings: Recordings,
    targets: FrameClasses,
    rows: Rows,
    max_s: float,
    start: Matrix,
    seed: int,
) -> Matrix:
    """Return the embedding ``float32[width]`` that a few gradient steps make of one to start from.

    All else stays as it is; what falls is the masked loss on a new speaker's own recordings.

    Args:
        model: pre-trained.
        recordings: hold the new speaker's.
        targets: of all recordings.
        rows: the speaker's recordings, ``int64[n]``.
        max_s: longest part of a recording.
        start: ``float32[width]``.
        seed: of crops and masks.
    """
    embedding = torch.from_numpy(start.copy()).to(model.clusters.device).requires_grad_(True)
    optimiser = torch.optim.Adam([embedding], lr=STEP_RATE)
    model.eval()
    rng = np.random.default_rng([seed, 2])
    batches = recordings.batches(rows, BATCH_S, max_s)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step in range(STEPS):
            loss = loss_of(model, recordings, targets, batches[step % len(batches)], max_s, embedding, rng)
            optimiser.zero_grad()
            (embedding.grad,) = torch.autograd.grad(loss, [embedding])
            optimiser.step()
    fitted: Matrix = embedding.detach().cpu().numpy()
    return fitted


def loss_of(
    model: MaskedPrediction,
    recordings: Recordings,
    targets: FrameClasses,
    rows: Rows,
    max_s: float,
    embedding: Tensor | None,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Return the masked loss of one batch of recordings of a speaker with the embedding ``float32[width]``."""
    batch = make_batch(recordings, targets, rows, max_s, model, rng)
    told = None if embedding is None else embedding.expand(len(rows), -1)
    device = model.clusters.device
    moved = (each.to(device) for each in (batch.waveform, batch.lengths, batch.targets))
    loss: Tensor = model(*moved, told).loss
    return loss
