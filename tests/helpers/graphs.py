"""Float graphs as the exporter writes them, small enough for tests of what is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder as HfWhisperEncoder

from calibrate.encoders.pretrained import PooledEncoder, WhisperEncoder
from export.graph.encoder_graph import write_onnx
from helpers.once import made_once

DIM = 12
GRAPH_NAME = "encoder.onnx"


class Projected(nn.Module):
    """Pooling and a projection, as a classifier has it."""

    def __init__(self, encoder: PooledEncoder) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, nn.Linear(encoder.dim, DIM)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        return torch.tanh(self.projection(self.encoder(waveform, lengths)))


def write_whisper_graph(folder: Path) -> None:
    """Export a random layer of a Whisper."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=64, encoder_layers=1, encoder_attention_heads=4, encoder_ffn_dim=128, max_source_positions=150,
        init_std=0.2,
    )  # fmt: skip
    model = Projected(PooledEncoder(WhisperEncoder(HfWhisperEncoder(config)), (0, 1)))
    write_onnx(model.eval(), folder / GRAPH_NAME, "tiny Whisper")


@pytest.fixture(scope="session")
def float_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper's first layer, masked pooling, a projection; input of at most 3 s."""
    return made_once(tmp_path_factory, "whisper-graph", write_whisper_graph) / GRAPH_NAME
