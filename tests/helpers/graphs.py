"""Float graphs as the exporter writes them, small enough for tests of what is made of them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder as HfWhisperEncoder

from calibrate.encoders.pretrained import PooledEncoder, WhisperEncoder
from export.graph.encoder_graph import write_onnx

DIM = 12
_kept: list[tempfile.TemporaryDirectory[str]] = []


class Projected(nn.Module):
    """Pooling and a projection, as a classifier has it."""

    def __init__(self, encoder: PooledEncoder) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, nn.Linear(encoder.dim, DIM)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        return torch.tanh(self.projection(self.encoder(waveform, lengths)))


@functools.cache
def whisper_graph() -> Path:
    """Export a random layer of a Whisper once."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=64, encoder_layers=1, encoder_attention_heads=4, encoder_ffn_dim=128, max_source_positions=150,
        init_std=0.2,
    )  # fmt: skip
    model = Projected(PooledEncoder(WhisperEncoder(HfWhisperEncoder(config)), (0, 1)))
    folder = tempfile.TemporaryDirectory(prefix="affectd-graphs-")
    _kept.append(folder)
    path = Path(folder.name, "encoder.onnx")
    write_onnx(model.eval(), path, "tiny Whisper")
    return path


@pytest.fixture(scope="session")
def float_graph() -> Path:
    """A Whisper's first layer, masked pooling, a projection; input of at most 3 s."""
    return whisper_graph()
