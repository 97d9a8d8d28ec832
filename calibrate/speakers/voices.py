"""The speaker-verification encoder: waveform and lengths in, voiceprints of unit length out, front end included."""

from __future__ import annotations

import importlib.util
import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from calibrate.encoders.logmel import frame_mask
from calibrate.encoders.pooling import statistics_pool
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ
from edge.errors import ModelError

HOP, WINDOW = 160, 400
MELS, HIDDEN, LAYERS = 40, 256, 3
PARTIAL_FRAMES, PARTIAL_HOP, PARTIAL_COVERED = 160, 40, 120
"""A partial utterance is 1.6 s; the last one may lack a quarter."""
LEVEL = 10 ** (-30 / 20)
"""Quieter speech is amplified to this RMS (-30 dBFS), at most by ``MOST_GAIN``."""
MOST_GAIN = 1_000.0
GATE = 10 ** (-35 / 10)
"""Frames this far below the mean power are pauses."""
SPECTRUM_MELS = 80
SPECTRUM_DIM = 2 * SPECTRUM_MELS

INSTALL = "pip install --no-deps resemblyzer"


@dataclass(frozen=True)
class SpectrumProjection:
    """Within-class covariance normalisation of the spectrum (Hatch et al. 2006), and how it stands beside GE2E."""

    mean: Matrix
    """``float32[160]``"""
    matrix: Matrix
    """``float32[160, 160]``; ``(spectrum - mean) @ matrix`` varies equally in all directions within a speaker."""
    weight: float
    """Of the spectrum's cosine, where GE2E's weighs 1."""
    nuisance: Matrix = field(default_factory=lambda: np.zeros((0, HIDDEN), np.float32))
    """``float32[k, 256]``, orthonormal rows: directions that GE2E's values lose (Solomonoff et al. 2005)."""


class VoiceEncoder(nn.Module):
    """GE2E (Wan et al. 2018) in the form of Resemblyzer, without its dependence on a trimmed waveform.

    The mel power frames above the gate are closed up, cut into overlapping partial utterances, and the last states of
    these averaged. ``forward(waveform float32[batch, samples], lengths int64[batch])`` returns ``voiceprint
    float32[batch, dim]`` of unit length: GE2E's 256 values, followed by the projected long-term spectrum if there is a
    projection. The cosine of two voiceprints is then the weighted mean of two cosines.
    """

    def __init__(self, projection: SpectrumProjection | None = None) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MELS, HIDDEN, LAYERS, batch_first=True)
        self.linear = nn.Linear(HIDDEN, HIDDEN)
        self.projection = None if projection is None else _Projection(projection)
        time = torch.arange(WINDOW, dtype=torch.float64)
        bins = torch.arange(WINDOW // 2 + 1, dtype=torch.float64)
        angle = 2 * math.pi * bins[:, None] * time[None, :] / WINDOW
        basis = torch.cat([torch.cos(angle), -torch.sin(angle)]) * torch.hann_window(WINDOW, dtype=torch.float64)
        self.basis: Tensor
        self.filters: Tensor
        self.register_buffer("basis", basis[:, None, :].float(), persistent=False)
        filters = [_filters(MELS, "slaney", 0.0), _filters(SPECTRUM_MELS, "htk", 20.0)]
        self.register_buffer("filters", torch.cat(filters)[:, :, None], persistent=False)

    @property
    def dim(self) -> int:
        """Size of a voiceprint."""
        return HIDDEN + (0 if self.projection is None else SPECTRUM_DIM)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Return voiceprints; see the class."""
        voice, spectrum = self.parts(waveform, lengths)
        return voice if self.projection is None else self.projection(voice, spectrum)

    def parts(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return GE2E's ``float32[batch, 256]`` of unit length and the spectrum ``float32[batch, 160]``.

        The spectrum is the mean and the deviation over time of the log mel power, free of the level.
        """
        mel, log_mel, keep = self._frames(waveform, lengths)
        frames = keep.sum(1)
        # Kept frames move up to close the gaps; the others share a last place that is then dropped.
        place = torch.where(keep, keep.long().cumsum(1) - 1, keep.shape[1])
        closed = _close_up(torch.cat([mel, log_mel], dim=1).transpose(1, 2), place)
        voice = self._voice(closed[:, :, :MELS], frames)
        log_power = closed[:, :, MELS:]
        spectrum = statistics_pool(log_power, frame_mask(frames, log_power))
        level = spectrum[:, :SPECTRUM_MELS].mean(1, keepdim=True)
        return voice, torch.cat([spectrum[:, :SPECTRUM_MELS] - level, spectrum[:, SPECTRUM_MELS:]], dim=1)

    def _frames(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mel power ``[batch, 40, time]``, log mel power ``[batch, 80, time]``, ``bool[batch, time]``."""
        inside = torch.arange(waveform.shape[1], device=waveform.device)[None, :] < lengths[:, None]
        waveform = waveform * inside
        rms = (waveform.square().sum(1, keepdim=True) / lengths[:, None]).sqrt()
        waveform = waveform * (LEVEL / rms.clamp(min=LEVEL / MOST_GAIN)).clamp(min=1.0)
        spectrum = F.conv1d(F.pad(waveform, (WINDOW // 2, WINDOW // 2))[:, None, :], self.basis, stride=HOP)
        real, imaginary = spectrum.chunk(2, dim=1)
        power = F.conv1d(real.square() + imaginary.square(), self.filters)
        mel, log_mel = power[:, :MELS], torch.log(power[:, MELS:].clamp(min=1e-8))
        frames = torch.div(lengths, HOP, rounding_mode="floor") + 1
        valid = frame_mask(frames, mel.transpose(1, 2))
        energy = mel.sum(1) * valid
        mean = energy.sum(1, keepdim=True) / frames[:, None]
        return mel, log_mel, valid & (energy >= GATE * mean)

    def _voice(self, mel: Tensor, frames: Tensor) -> Tensor:
        """Return the mean of the partial utterances of ``float32[batch, time, 40]``."""
        batch, time = mel.shape[0], mel.shape[1]
        padded = F.pad(mel, (0, 0, 0, PARTIAL_FRAMES))
        # What starts later would cover too little.
        starts = torch.arange(0, torch.sym_max(time - PARTIAL_COVERED, 0) + 1, PARTIAL_HOP, device=mel.device)
        steps = starts[:, None] + torch.arange(PARTIAL_FRAMES, device=mel.device)[None, :]
        partials = padded[:, steps].flatten(0, 1)
        left = (frames[:, None] - starts[None, :]).clamp(1, PARTIAL_FRAMES).flatten()
        states = self.lstm(partials)[0]
        last = states.gather(1, (left - 1)[:, None, None].expand(-1, 1, HIDDEN))[:, 0]
        voices = _unit(F.relu(self.linear(last))).reshape(batch, -1, HIDDEN)
        covered = (starts[None, :] == 0) | (starts[None, :] + PARTIAL_COVERED <= frames[:, None])
        return _unit((voices * covered[:, :, None]).sum(1))


class _Projection(nn.Module):
    def __init__(self, projection: SpectrumProjection) -> None:
        super().__init__()
        self.mean: Tensor
        self.matrix: Tensor
        self.register_buffer("mean", torch.from_numpy(projection.mean))
        self.register_buffer("matrix", torch.from_numpy(projection.matrix))
        self.nuisance: Tensor
        self.register_buffer("nuisance", torch.from_numpy(projection.nuisance))
        self.scale = math.sqrt(projection.weight)

    def forward(self, voice: Tensor, spectrum: Tensor) -> Tensor:
        if len(self.nuisance):
            voice = _unit(voice - voice @ self.nuisance.T @ self.nuisance)
        return _unit(torch.cat([voice, self.scale * _unit((spectrum - self.mean) @ self.matrix)], dim=1))


def load_voice_encoder(projection: SpectrumProjection | None = None) -> VoiceEncoder:
    """Return the encoder with the weights that lie in the installed ``resemblyzer`` package (Apache-2.0).

    Raises:
        ModelError: the package is not installed, or its weights are not those of GE2E.
    """
    package = importlib.util.find_spec("resemblyzer")
    if package is None or not package.submodule_search_locations:
        raise ModelError(f"the speaker encoder's weights come with resemblyzer, which is not installed: {INSTALL}")
    path = Path(package.submodule_search_locations[0], "pretrained.pt")
    encoder = VoiceEncoder(projection)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        own = {name: tensor for name, tensor in state.items() if name.startswith(("lstm.", "linear."))}
        found = encoder.load_state_dict(own, strict=False)
    except (OSError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path}: holds no weights of GE2E ({error}); install it anew: {INSTALL}") from None
    missing = [name for name in found.missing_keys if not name.startswith("projection.")]
    if missing:
        raise ModelError(f"{path}: lacks {', '.join(missing)}")
    return encoder.eval()


def fit_projection(
    spectra: Matrix, speakers: Sequence[str], shrinkage: float = 0.02, weight: float = 0.3
) -> SpectrumProjection:
    """Fit the projection on ``float32[n, 160]``; every speaker counts the same.

    Args:
        spectra: from ``VoiceEncoder.parts``.
        speakers: one name per row.
        shrinkage: share of the covariance that is replaced by white noise of the same power.
        weight: of the spectrum beside GE2E.
    """
    names = np.asarray(speakers)
    groups = [spectra[names == name].astype(np.float64) for name in np.unique(names)]
    mean = np.mean([group.mean(axis=0) for group in groups], axis=0)
    deviation = np.sqrt(np.mean([((group - mean) ** 2).mean(axis=0) for group in groups], axis=0))
    within = np.mean([np.cov(group.T, bias=True) for group in groups], axis=0) / np.outer(deviation, deviation)
    white = np.trace(within) / len(within) * np.eye(len(within))
    factor = np.linalg.cholesky(np.linalg.inv((1 - shrinkage) * within + shrinkage * white))
    return SpectrumProjection(mean.astype(np.float32), (factor / deviation[:, None]).astype(np.float32).copy(), weight)


def fit_nuisance(voices: Matrix, speakers: Sequence[str], count: int = 2) -> Matrix:
    """Return ``float32[count, 256]``: the directions in which GE2E varies most within speakers, that is, with emotion.

    Args:
        voices: ``float32[n, 256]``, from ``VoiceEncoder.parts``.
        speakers: one name per row; every speaker counts the same.
        count: of directions. Two were as good as four, on corpora that were not fitted on.
    """
    names = np.asarray(speakers)
    within = np.mean([np.cov(voices[names == name].T, bias=True) for name in np.unique(names)], axis=0)
    directions: Matrix = np.ascontiguousarray(np.linalg.eigh(within)[1][:, -count:].T, np.float32)
    return directions


def _close_up(features: Tensor, place: Tensor) -> Tensor:
    """Return ``float32[batch, time, width]`` with each frame at its place; what has no place is zero."""
    slots = features.new_zeros(features.shape[0], features.shape[1] + 1, features.shape[2])
    return slots.scatter(1, place[:, :, None].expand(-1, -1, features.shape[2]), features)[:, :-1]


def _filters(mels: int, scale: str, lowest_hz: float) -> Tensor:
    """Return ``float32[mels, 201]``."""
    bank = mel_filter_bank(
        num_frequency_bins=WINDOW // 2 + 1,
        num_mel_filters=mels,
        min_frequency=lowest_hz,
        max_frequency=SAMPLE_RATE_HZ / 2,
        sampling_rate=SAMPLE_RATE_HZ,
        norm="slaney" if scale == "slaney" else None,
        mel_scale=scale,
    )
    return torch.from_numpy(bank).float().T.contiguous()


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
