"""Whisper's encoder at the real length of its input."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibrate.encoders.base import SpeechEncoder, Tokens
from calibrate.encoders.logmel import LogMel, convolve, frame_mask
from edge.audio import SAMPLE_RATE_HZ


class WhisperEncoder(SpeechEncoder):
    """Whisper's encoder cut to the real length: no 30 s window, padding masked everywhere.

    The positions are the first ones of Whisper's table, so its length bounds the input (30 s).

    With ``merge``, pairs of tokens become one in the first layer: the mean of a pair asks, and every token answers
    (pooled queries, Dai et al. 2020, Funnel-Transformer, section 2.2). So all but keys and values of the first layer
    are computed for half of the tokens.
    """

    def __init__(self, pretrained: Any, merge: bool = False) -> None:
        super().__init__()
        self.front = LogMel(pretrained.config.num_mel_bins)
        self.conv1, self.conv2 = pretrained.conv1, pretrained.conv2
        self.positions = nn.Parameter(pretrained.embed_positions.weight.detach().clone(), requires_grad=False)
        self.blocks = pretrained.layers
        self.width, self.heads = pretrained.config.d_model, pretrained.config.encoder_attention_heads
        self.merge = merge

    def transformer_layers(self) -> nn.ModuleList:
        """See ``SpeechEncoder``."""
        return cast(nn.ModuleList, self.blocks)

    @property
    def samples_a_position(self) -> int:
        """Samples that a token of the front end stands for: 320 in Whisper, 20 ms."""
        return int(self.front.hop * self.conv2.stride[0])

    @property
    def samples_a_token(self) -> int:
        """See ``SpeechEncoder``."""
        return self.samples_a_position * (2 if self.merge else 1)

    def frames_out(self, frames: Tensor) -> Tensor:
        """See ``SpeechEncoder``: half as many, where pairs become one."""
        return torch.div(frames + 1, 2, rounding_mode="floor") if self.merge else frames

    def merge_pairs(self) -> None:
        """See ``SpeechEncoder``."""
        self.merge = True

    def truncate(self, layers: int, max_s: float) -> None:
        """See ``SpeechEncoder``; the position table is cut."""
        self.blocks = self.blocks[:layers]
        positions = self.positions[: math.ceil(max_s * SAMPLE_RATE_HZ / self.samples_a_position)]
        self.positions = nn.Parameter(positions.clone(), requires_grad=False)

    def front_end(self, waveform: Tensor, lengths: Tensor) -> Tokens:
        """See ``SpeechEncoder``."""
        narrow, frames = self.stem(waveform, lengths)
        hidden = F.gelu(convolve(narrow, self.conv2))
        return Tokens(hidden, frames, torch.zeros((), device=hidden.device))

    def stem(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the second convolution gets, ``float32[batch, time, channels]``, and the frames it answers."""
        log_mel, mel_frames = self.front(waveform, lengths)
        stride = self.conv2.stride[0]
        frames = torch.div(mel_frames + stride - 1, stride, rounding_mode="floor")
        return F.gelu(convolve(log_mel, self.conv1)) * frame_mask(mel_frames, log_mel)[:, :, None], frames

    def transform(self, hidden: Tensor, frames: Tensor) -> list[Tensor]:
        """See ``SpeechEncoder``."""
        every = Rows.of(hidden + self.positions[: hidden.shape[1]], frames)
        asking = Rows.of(means_of_pairs(every), self.frames_out(frames)) if self.merge else every
        states = [asking.hidden]
        for block in self.blocks:
            every = asking = asking._replace(hidden=self._block(block, asking, every))
            states.append(asking.hidden)
        return states

    def _block(self, block: Any, asking: Rows, every: Rows) -> Tensor:
        """Pre-norm transformer block; padded rows are zeroed before every matrix product.

        Zero never widens the range that dynamic int8 quantisation measures, so padding cannot change its grid.

        Args:
            block: layer of the transformers library.
            asking: tokens that go on, with a query each.
            every: tokens that answer, with a key and a value each; the same, unless tokens merge here.
        """
        attention, keep = block.self_attn, asking.keep
        normed = block.self_attn_layer_norm(asking.hidden) * keep
        answering = normed if every is asking else block.self_attn_layer_norm(every.hidden) * every.keep
        query, key, value = (
            projection(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projection, tokens in (
                (attention.q_proj, normed),
                (attention.k_proj, answering),
                (attention.v_proj, answering),
            )
        )
        scores = (query * attention.scaling) @ key.transpose(2, 3) + every.blocked
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
        hidden = asking.hidden + attention.out_proj(mixed * keep)
        inner = F.gelu(block.fc1(block.final_layer_norm(hidden) * keep))
        return cast(Tensor, (hidden + block.fc2(inner * keep)) * keep)


class Rows(NamedTuple):
    """Tokens of a padded batch, zero where a row has ended."""

    hidden: Tensor
    """``float32[batch, time, width]``."""
    keep: Tensor
    """``float32[batch, time, 1]``, 1 inside each row and 0 behind it."""
    blocked: Tensor
    """``float32[batch, 1, 1, time]``, added to attention: -10,000 behind each row."""

    @classmethod
    def of(cls, hidden: Tensor, frames: Tensor) -> Rows:
        """Return the tokens of which ``int64[batch]`` are valid."""
        inside = frame_mask(frames, hidden)
        keep = inside[:, :, None].to(hidden.dtype)
        return cls(hidden * keep, keep, torch.where(inside, 0.0, -1e4).to(hidden.dtype)[:, None, None, :])


def means_of_pairs(rows: Rows) -> Tensor:
    """Return ``float32[batch, ceil(time / 2), width]``: the mean of every two tokens, of the one inside at an end."""
    width, odd = rows.hidden.shape[2], rows.hidden.shape[1] % 2
    pairs = F.pad(rows.hidden, (0, 0, 0, odd)).reshape(rows.hidden.shape[0], -1, 2 * width)
    inside = F.pad(rows.keep, (0, 0, 0, odd)).reshape(rows.keep.shape[0], -1, 2)
    return (pairs[:, :, :width] + pairs[:, :, width:]) / (inside[:, :, :1] + inside[:, :, 1:]).clamp(min=1)
