"""The log-mel front end as part of the graph, and convolutions over time as matrix products."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import WhisperFeatureExtractor

LN_10 = math.log(10)


class LogMel(nn.Module):
    """Whisper's log-mel spectrogram as matrix products, exact for any padding (Radford et al. 2022, section 2.2).

    ``float32[batch, samples]`` to ``float32[batch, ceil(samples / hop), mels]``; frames past a row's end are zero.
    The hop is Whisper's 160 samples unless a longer one is wanted.
    """

    def __init__(self, mels: int, hop: int = 160) -> None:
        super().__init__()
        extractor = WhisperFeatureExtractor(feature_size=mels)  # type: ignore[no-untyped-call]
        self.hop, self.window = hop, extractor.n_fft
        angle = 2 * math.pi * torch.arange(self.window, dtype=torch.float64) / self.window
        self.turns: Tensor
        self.circle: Tensor
        self.taper: Tensor
        self.filters: Tensor
        self.register_buffer("turns", torch.arange(self.window), persistent=False)
        self.register_buffer("circle", torch.stack([angle.cos(), -angle.sin()]).float(), persistent=False)
        taper = torch.hann_window(self.window, dtype=torch.float64)[1 : self.window // 2 + 1]
        taper[-1] /= 2  # the middle meets itself
        self.register_buffer("taper", taper.float(), persistent=False)
        self.register_buffer("filters", torch.from_numpy(extractor.mel_filters).float(), persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spectrogram and the valid frames ``int64[batch]``; always in full precision.

        In bfloat16 what is 50 dB below a frame's loudest band would be noise, and 80 dB are kept.
        """
        if torch.is_autocast_enabled(waveform.device.type):
            with torch.autocast(waveform.device.type, enabled=False):
                return self.forward(waveform, lengths)
        samples = waveform.shape[1]
        spectrum = self._power(waveform * sample_mask(lengths, samples, self.hop)) @ self.filters
        frames = torch.div(lengths + self.hop - 1, self.hop, rounding_mode="floor")
        inside = frame_mask(frames, spectrum)[:, :, None].to(spectrum.dtype)
        log_mel = (spectrum * inside).clamp(min=1e-10).log()
        floor = log_mel.amax(dim=(1, 2), keepdim=True) - 8.0 * LN_10
        return (torch.maximum(log_mel, floor) * (0.25 / LN_10) + 1.0) * inside, frames

    def _power(self, waveform: Tensor) -> Tensor:
        """Return the power spectrum ``float32[batch, frames, bins]`` of frames centred on every hop.

        A periodic window and every cosine are even about the middle of a frame and every sine is odd, so the frame is
        folded there: sums meet the cosines, differences the sines, in half the arithmetic.
        """
        samples, half = waveform.shape[1], self.window // 2
        frames = (samples + self.hop - 1) // self.hop
        block = math.gcd(self.window, self.hop)
        step, reach = self.hop // block, self.hop // block * (frames - 1)
        end = (frames - 1) * self.hop + self.window
        blocks = F.pad(waveform, (half, end - half - samples)).reshape(waveform.shape[0], -1, block)
        framed = torch.cat([blocks[:, at : at + reach + 1 : step] for at in range(self.window // block)], dim=2)
        onward, backward = framed[:, :, 1 : half + 1], framed[:, :, self.window - self.turns[1 : half + 1]]
        cosines: Tensor
        sines: Tensor
        cosines, sines = self._basis()
        real, imaginary = (onward + backward) @ cosines, (onward - backward) @ sines
        return real * real + imaginary * imaginary  # onnxruntime takes longer for powers

    def _basis(self) -> Tensor:
        """Return half of the windowed Fourier basis ``float32[2, window / 2, bins]``, cosines first.

        Looked up on the unit circle, so that a graph stores 400 points of it instead of 80,000; onnxruntime computes
        the basis once, when it loads.
        """
        half = self.window // 2
        places = (self.turns[1 : half + 1, None] * self.turns[None, : half + 1]) % self.window
        return self.circle[:, places] * self.taper[:, None]


def sample_mask(lengths: Tensor, samples: int, hop: int) -> Tensor:
    """Return ``float32[batch, samples]``, 1 inside each row and 0 behind it.

    Counted hop by hop and in float32: onnxruntime is slow at counting samples one by one, and at comparing them.
    """
    starts = torch.arange((samples + hop - 1) // hop, device=lengths.device) * hop
    places = torch.arange(hop, device=lengths.device, dtype=torch.float32)
    left = (lengths[:, None] - starts[None, :]).float()
    return (left[:, :, None] - places).clamp(0, 1).flatten(1)[:, :samples]


def frame_mask(frames: Tensor, features: Tensor) -> Tensor:
    """Return ``bool[batch, time]``, true inside each row, for features ``[batch, time, width]``."""
    return torch.arange(features.shape[1], device=features.device)[None, :] < frames[:, None]


def nearest_frames(frames: int, apart: float) -> Tensor:
    """Return which of the frames are nearest to every ``apart``-th, which need not be whole: ``int64[tokens]``."""
    tokens = math.ceil((frames - 0.5) / apart)
    return (torch.arange(tokens, dtype=torch.float64) * apart + 0.5).floor().long()


def convolve(features: Tensor, convolution: nn.Conv1d) -> Tensor:
    """Apply a convolution over time to ``float32[batch, time, width]`` as one matrix product over shifted copies.

    Gives ``float32[batch, ceil(time / stride), channels]``; output ``t`` is centred on input ``stride * t``, as padding
    by one gives it. A matrix product can be quantised where a convolution cannot.
    """
    return F.linear(shifted_copies(features, convolution), as_product(convolution), convolution.bias)


def shifted_copies(features: Tensor, convolution: nn.Conv1d) -> Tensor:
    """Return what a convolution sees for each of its outputs, ``float32[batch, ceil(time / stride), taps * width]``."""
    (taps,), (stride,) = convolution.kernel_size, convolution.stride
    time = features.shape[1]
    outputs = (time + stride - 1) // stride
    reach = stride * (outputs - 1)
    padded = F.pad(features, (0, 0, 1, reach + taps - 1 - time))
    return torch.cat([padded[:, tap : tap + reach + 1 : stride] for tap in range(taps)], dim=2)


def as_product(convolution: nn.Conv1d) -> Tensor:
    """Return the weights of a convolution for ``shifted_copies``, ``float32[channels, taps * width]``."""
    return convolution.weight.transpose(1, 2).flatten(1)
