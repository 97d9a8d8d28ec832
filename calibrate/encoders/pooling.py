"""Pooling over time: which tokens of an utterance are voiced, and the mean and deviation of tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from calibrate.encoders.logmel import sample_mask


def voiced_tokens(waveform: Tensor, lengths: Tensor, hop: int, within_db: float) -> tuple[Tensor, Tensor]:
    """Return the tokens at most ``within_db`` below the loudest of their row, and where each row's last one ends.

    The level of a token is the energy of the two hops about its centre.

    Args:
        waveform: ``float32[batch, samples]``.
        lengths: samples of each row, ``int64[batch]``.
        hop: samples that a token stands for; even.
        within_db: of a voiced token.

    Returns:
        ``bool[batch, ceil(samples / hop)]``, and the samples up to the end of the last voiced token, ``int64[batch]``.
    """
    samples, half = waveform.shape[1], hop // 2
    tokens = (samples + hop - 1) // hop
    power = torch.where(sample_mask(lengths, samples, hop), waveform, 0.0).square()
    hops = F.pad(power, (half, (tokens + 1) * hop - half - samples)).reshape(power.shape[0], tokens + 1, hop).sum(2)
    energy = hops[:, :-1] + hops[:, 1:]
    places = torch.arange(1, tokens + 1, device=lengths.device)
    inside = (places - 1) * hop < lengths[:, None]
    voiced = inside & (energy >= energy.amax(dim=1, keepdim=True) * 10 ** (-within_db / 10))
    ends = (places * voiced).amax(dim=1) * hop + half
    return voiced, torch.minimum(ends, lengths)


def statistics_pool(states: Tensor, inside: Tensor) -> Tensor:
    """Pool ``float32[batch, time, width]`` where ``bool[batch, time]`` is true: mean, deviation, side by side."""
    kept = inside[:, :, None].to(states.dtype)
    count = kept.sum(1).clamp(min=1)
    mean = (states * kept).sum(1) / count
    centred = (states - mean[:, None, :]) * kept
    deviation = (centred.square().sum(1) / count + 1e-8).sqrt()
    return torch.cat([mean, deviation], dim=1)
