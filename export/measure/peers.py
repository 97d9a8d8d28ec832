"""The other encoders: shapes of published speech models in torch, with random weights where none are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.parametrize import remove_parametrizations
from transformers import HubertConfig, HubertModel, PreTrainedModel, Wav2Vec2Config, Wav2Vec2Model, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from edge.audio import Waveform
from export.graph.flops import module_flops

LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
SHAPES: dict[str, HubertConfig | Wav2Vec2Config] = {
    "DistilHuBERT shape": HubertConfig(num_hidden_layers=2),
    "HuBERT-base shape": HubertConfig(num_hidden_layers=12),
    "wav2vec2-large-12 shape": Wav2Vec2Config(num_hidden_layers=12, **LARGE),
    "HuBERT-large shape": HubertConfig(num_hidden_layers=24, **LARGE),
}
WHISPER_BASE = WhisperConfig(d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048)
WHISPER_FRAMES = 3000
"""Log-mel frames of the 30 s that Whisper's encoder always hears."""


class WaveformPeer:
    """An encoder that hears samples; random weights, float32, batch of one."""

    weights = "random"

    def __init__(self, config: HubertConfig | Wav2Vec2Config) -> None:
        self.model: PreTrainedModel = HubertModel(config) if isinstance(config, HubertConfig) else Wav2Vec2Model(config)
        self.model.train(False)
        # As a deployed model has it: the norm of these weights is not computed anew at every run.
        remove_parametrizations(self.model.encoder.pos_conv_embed.conv, "weight")

    def __call__(self, waveform: Waveform) -> object:
        """Encode ``float32[samples]``."""
        with torch.inference_mode():
            return self.model(torch.from_numpy(waveform)[None])

    def flops(self, waveform: Waveform) -> int:
        """Return the operations for a waveform."""
        return module_flops(self.model, torch.from_numpy(waveform)[None])


class WhisperPeer:
    """Whisper-base's encoder on 30 s of log-mel frames, which are not part of the time; float32, batch of one."""

    def __init__(self, folder: Path | None = None) -> None:
        self.weights = "published" if folder else "random"
        self.model: PreTrainedModel = (
            WhisperEncoder.from_pretrained(folder, dtype=torch.float32) if folder else WhisperEncoder(WHISPER_BASE)
        )
        self.model.train(False)
        frames = np.random.default_rng(0).standard_normal((1, WHISPER_BASE.num_mel_bins, WHISPER_FRAMES))
        self.frames = torch.from_numpy(frames.astype(np.float32))

    def __call__(self, _waveform: Waveform) -> object:
        """Encode 30 s, however long the waveform is."""
        with torch.inference_mode():
            return self.model(self.frames)

    def flops(self, _waveform: Waveform) -> int:
        """Return the operations for 30 s."""
        return module_flops(self.model, self.frames)
