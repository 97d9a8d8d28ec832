"""Encoders that others would take, in float32 torch: log-mel and filter-bank frames in, batch of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pad, relu, scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode
from transformers import Data2VecAudioConfig, Data2VecAudioModel, PreTrainedModel, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from edge.audio import SAMPLE_RATE_HZ, Waveform
from export.bundle.latency import module_flops

WHISPER_BASE = WhisperConfig(d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048)
SMART_TURN = WhisperConfig(
    d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536, max_source_positions=400
)
"""Whisper-tiny's encoder on 8 s: ``SmartTurnV3Model`` in train.py of github.com/pipecat-ai/smart-turn."""
EMOTION2VEC = {
    "emotion2vec+ base shape": Data2VecAudioConfig(num_hidden_layers=12),
    "emotion2vec+ large shape": Data2VecAudioConfig(
        num_hidden_layers=24, hidden_size=1024, num_attention_heads=16, intermediate_size=4096
    ),
}
"""data2vec 2.0 (Baevski et al. 2022) as emotion2vec (Ma et al. 2023) has it: base is 4 + 8 layers of 768, with 12 heads
(the configuration in github.com/modelscope/FunASR). That of large was not to be had: its 300 million parameters and its
embedding of 1024 are those of data2vec 2.0's large, 8 + 16 layers. Without the linear bias of the attention and the 10
tokens of no time that both have besides, which makes these rows a little faster than the originals."""


@dataclass(frozen=True)
class SanmShape:
    """Widths and depths of an encoder of SAN-M blocks."""

    inputs: int = 560
    """Seven frames of 80 filters, every 60 ms."""
    width: int = 512
    heads: int = 4
    hidden: int = 2048
    kernel: int = 11
    blocks: int = 70
    """50 and 20 more behind a norm of their own (``tp_blocks``)."""
    outputs: int = 25_055
    """Tokens of languages, events and emotions among them."""


SENSE_VOICE = SanmShape()
"""SenseVoice-small: ``SenseVoiceEncoderSmall`` in model.py of github.com/FunAudioLLM/SenseVoice; depths and widths are
those that make its published 234 million parameters."""
HOP_S = 0.06
QUERIES = 4
"""Tokens for language, emotion, event and text style before the frames."""


class SanmBlock(nn.Module):
    """Self-attention with a memory: a depthwise convolution of the values beside the attention (Gao et al. 2020)."""

    def __init__(self, shape: SanmShape, inputs: int) -> None:
        super().__init__()
        self.heads, self.kernel = shape.heads, shape.kernel
        self.norm, self.ffn_norm = nn.LayerNorm(inputs), nn.LayerNorm(shape.width)
        self.qkv = nn.Linear(inputs, 3 * shape.width)
        self.memory = nn.Conv1d(shape.width, shape.width, shape.kernel, groups=shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width)
        self.rise, self.fall = nn.Linear(shape.width, shape.hidden), nn.Linear(shape.hidden, shape.width)

    def forward(self, frames: Tensor) -> Tensor:
        """Return ``float32[1, frames, width]`` of ``float32[1, frames, inputs]``."""
        query, key, value = self.qkv(self.norm(frames)).chunk(3, dim=-1)
        margin = self.kernel // 2
        memory = self.memory(pad(value.transpose(1, 2), (margin, margin))).transpose(1, 2) + value
        split = [each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (query, key, value)]
        attended = self.out(scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)) + memory
        whole = frames + attended if frames.shape == attended.shape else attended
        answer: Tensor = whole + self.fall(relu(self.rise(self.ffn_norm(whole))))
        return answer


class SenseVoicePeer:
    """The shape of SenseVoice-small, random weights, from its frames to the scores of its tokens."""

    weights = "random"

    def __init__(self, shape: SanmShape = SENSE_VOICE) -> None:
        self.shape = shape
        blocks = [SanmBlock(shape, shape.width if block else shape.inputs) for block in range(shape.blocks)]
        self.model = nn.Sequential(*blocks, nn.LayerNorm(shape.width), nn.Linear(shape.width, shape.outputs))
        self.model.train(False)

    def __call__(self, waveform: Waveform) -> object:
        """Encode as many frames as ``float32[samples]`` have; what is in them makes no difference."""
        with torch.inference_mode():
            return self.model(self._frames(waveform))

    def flops(self, waveform: Waveform) -> int:
        """Return the operations for a waveform."""
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            self.model(self._frames(waveform))
        return int(counter.get_total_flops())

    def _frames(self, waveform: Waveform) -> Tensor:
        count = round(len(waveform) / SAMPLE_RATE_HZ / HOP_S) + QUERIES
        return torch.sin(torch.arange(count * self.shape.inputs, dtype=torch.float32)).view(1, count, -1)


class Emotion2vecPeer:
    """A shape of emotion2vec+, random weights, from the waveform to the embedding of every 20 ms."""

    weights = "random"

    def __init__(self, config: Data2VecAudioConfig) -> None:
        self.model: PreTrainedModel = Data2VecAudioModel(config)
        self.model.train(False)

    def __call__(self, waveform: Waveform) -> object:
        """Encode ``float32[samples]``."""
        with torch.inference_mode():
            return self.model(torch.from_numpy(waveform)[None])

    def flops(self, waveform: Waveform) -> int:
        """Return the operations for a waveform."""
        return module_flops(self.model, torch.from_numpy(waveform)[None])


class WhisperPeer:
    """A Whisper encoder on log-mel frames, which are not part of the time, always as many as its positions hold."""

    def __init__(self, config: WhisperConfig = WHISPER_BASE, folder: Path | None = None) -> None:
        self.weights = "published" if folder else "random"
        self.model: PreTrainedModel = (
            WhisperEncoder.from_pretrained(folder, dtype=torch.float32) if folder else WhisperEncoder(config)
        )
        self.model.train(False)
        self.frames = torch.randn(
            (1, config.num_mel_bins, 2 * config.max_source_positions), generator=torch.Generator().manual_seed(0)
        )

    def __call__(self, _waveform: Waveform) -> object:
        """Encode all the frames, however long the waveform is."""
        with torch.inference_mode():
            return self.model(self.frames)

    def flops(self, _waveform: Waveform) -> int:
        """Return the operations for all the frames."""
        return module_flops(self.model, self.frames)
