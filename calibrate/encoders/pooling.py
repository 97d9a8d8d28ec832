"""Pooling over time: which tokens of an utterance are voiced and how loud, and the mean and deviation of tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from calibrate.encoders.logmel import sample_mask

QUIETEST_DBFS = -48.0
"""Quieter voices are amplified to this, where next to no utterance of the training corpora is quieter: the log-mel
frames of one 30 dB below it end at their floor, which no head makes up for."""


def token_energy(waveform: Tensor, lengths: Tensor, hop: int) -> Tensor:
    """Return the energy of the two hops about each token's centre, ``float32[batch, ceil(samples / hop)]``.

    Args:
        waveform: ``float32[batch, samples]``.
        lengths: samples of each row, ``int64[batch]``; what is behind them has no energy.
        hop: samples that a token stands for; even.
    """
    samples, half = waveform.shape[1], hop // 2
    tokens = (samples + hop - 1) // hop
    inside = waveform * sample_mask(lengths, samples, hop)
    hops = (
        F.pad(inside * inside, (half, (tokens + 1) * hop - half - samples))
        .reshape(waveform.shape[0], tokens + 1, hop)
        .sum(2)
    )
    return hops[:, :-1] + hops[:, 1:]


def voiced_tokens(energy: Tensor, lengths: Tensor, hop: int, within_db: float) -> tuple[Tensor, Tensor]:
    """Return the tokens at most ``within_db`` below the loudest of their row, and where each row's last one ends.

    Args:
        energy: of the tokens, ``float32[batch, tokens]``.
        lengths: samples of each row, ``int64[batch]``.
        hop: samples that a token stands for; even.
        within_db: of a voiced token.

    Returns:
        ``bool[batch, tokens]``, and the samples up to the end of the last voiced token, ``int64[batch]``.
    """
    places = torch.arange(1, energy.shape[1] + 1, device=lengths.device)
    inside = (places - 1) * hop < lengths[:, None]
    voiced = inside & (energy >= energy.amax(dim=1, keepdim=True) * 10 ** (-within_db / 10))
    ends = (places * voiced).amax(dim=1) * hop + hop // 2
    return voiced, torch.minimum(ends, lengths)


def audible_gain(energy: Tensor, voiced: Tensor, hop: int) -> Tensor:
    """Return what brings the voiced tokens of quiet rows to ``QUIETEST_DBFS``, ``float32[batch, 1]``; 1 for the others.

    Args:
        energy: of the tokens, ``float32[batch, tokens]``.
        voiced: ``bool[batch, tokens]``.
        hop: samples that a token stands for.
    """
    kept = voiced.to(energy.dtype)
    power = (energy * kept).sum(1, keepdim=True) / (2 * hop * kept.sum(1, keepdim=True).clamp(min=1))
    quietest = 10 ** (QUIETEST_DBFS / 10)
    # Digital silence stays silence.
    return (quietest / power.clamp(min=quietest * 1e-6)).sqrt().clamp(min=1.0)


def statistics_pool(states: Tensor, inside: Tensor) -> Tensor:
    """Pool ``float32[batch, time, width]`` where ``bool[batch, time]`` is true: mean, deviation, side by side.

    As products with the mask, since onnxruntime is slow at sums over time.
    """
    kept = inside[:, None, :].to(states.dtype)
    count = kept.sum(2, keepdim=True).clamp(min=1)
    mean = kept @ states / count
    away = states - mean
    deviation = (kept @ (away * away) / count + 1e-8).sqrt()
    return torch.cat([mean, deviation], dim=2).flatten(1)
