"""Whisper's encoder at the real length of its input."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibrate.encoders.base import SpeechEncoder, Tokens
from calibrate.encoders.logmel import LogMel, convolve, frame_mask
from edge.audio import SAMPLE_RATE_HZ


class WhisperEncoder(SpeechEncoder):
    """Whisper's encoder cut to the real length: no 30 s window, padding masked everywhere.

    The positions are the first ones of Whisper's table, so its length bounds the input (30 s).
    """

    def __init__(self, pretrained: Any) -> None:
        super().__init__()
        self.front = LogMel(pretrained.config.num_mel_bins)
        self.conv1, self.conv2 = pretrained.conv1, pretrained.conv2
        self.positions = nn.Parameter(pretrained.embed_positions.weight.detach().clone(), requires_grad=False)
        self.blocks = pretrained.layers
        self.width, self.heads = pretrained.config.d_model, pretrained.config.encoder_attention_heads

    def transformer_layers(self) -> nn.ModuleList:
        """See ``SpeechEncoder``."""
        return cast(nn.ModuleList, self.blocks)

    @property
    def samples_a_token(self) -> int:
        """See ``SpeechEncoder``: 320 in Whisper, 20 ms."""
        return int(self.front.hop * self.conv2.stride[0])

    def truncate(self, layers: int, max_s: float) -> None:
        """See ``SpeechEncoder``; the position table is cut."""
        self.blocks = self.blocks[:layers]
        positions = self.positions[: math.ceil(max_s * SAMPLE_RATE_HZ / self.samples_a_token)]
        self.positions = nn.Parameter(positions.clone(), requires_grad=False)

    def front_end(self, waveform: Tensor, lengths: Tensor) -> Tokens:
        """See ``SpeechEncoder``."""
        log_mel, mel_frames = self.front(waveform, lengths)
        hidden = F.gelu(convolve(log_mel, self.conv1)) * frame_mask(mel_frames, log_mel)[:, :, None]
        hidden = F.gelu(convolve(hidden, self.conv2))
        stride = self.conv2.stride[0]
        frames = torch.div(mel_frames + stride - 1, stride, rounding_mode="floor")
        return Tokens(hidden, frames, torch.zeros((), device=hidden.device))

    def transform(self, hidden: Tensor, frames: Tensor) -> list[Tensor]:
        """See ``SpeechEncoder``."""
        inside = frame_mask(frames, hidden)
        keep = inside[:, :, None].to(hidden.dtype)
        hidden = (hidden + self.positions[: hidden.shape[1]]) * keep
        blocked = torch.where(inside, 0.0, -1e4).to(hidden.dtype)[:, None, None, :]
        states = [hidden]
        for block in self.blocks:
            hidden = self._block(block, hidden, keep, blocked)
            states.append(hidden)
        return states

    def _block(self, block: Any, hidden: Tensor, keep: Tensor, blocked: Tensor) -> Tensor:
        """Pre-norm transformer block; padded rows are zeroed before every matrix product.

        Zero never widens the range that dynamic int8 quantisation measures, so padding cannot change its grid.
        """
        attention = block.self_attn
        normed = block.self_attn_layer_norm(hidden) * keep
        query, key, value = (
            projection(normed).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        scores = (query * attention.scaling) @ key.transpose(2, 3) + blocked
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
        hidden = hidden + attention.out_proj(mixed * keep)
        inner = F.gelu(block.fc1(block.final_layer_norm(hidden) * keep))
        return cast(Tensor, (hidden + block.fc2(inner * keep)) * keep)
