from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from signals import speech_like
from torch import Tensor, nn

from edge.audio import SAMPLE_RATE_HZ
from edge.buckets import Buckets
from edge.bundle import Bundle
from edge.encoder import Encoder
from edge.settings import EncoderSettings
from export.parity import bucketed_embeddings, least_cosine, padding_error, torch_embeddings

SETTINGS = EncoderSettings(provider="cpu", threads=1)


@pytest.fixture
def loudness(bundle: Bundle) -> Encoder:
    """Embeds (mean |x|, mean x², 1) of the valid samples; buckets of 1, 2 and 4 s."""
    encoder = Encoder(bundle.encoder_path, 3, Buckets(bundle.manifest.buckets_s), SETTINGS)
    encoder.load()
    return encoder


@pytest.fixture
def leaking(tmp_path: Path) -> Encoder:
    """Embeds the mean magnitude of the whole row, padding included."""
    nodes = [
        helper.make_node("Abs", ["waveform"], ["magnitude"]),
        helper.make_node("ReduceMean", ["magnitude"], ["embedding"], axes=[1], keepdims=1),
    ]
    inputs = [
        helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 1])
    graph = helper.make_graph(nodes, "leaking", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "leaking.onnx")
    encoder = Encoder(tmp_path / "leaking.onnx", 1, Buckets((1.0, 2.0, 4.0)), SETTINGS)
    encoder.load()
    return encoder


class Loudness(nn.Module):
    """The same as the tiny bundle's encoder, in torch."""

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        assert waveform.shape == (1, int(lengths)), "no padding"
        return torch.cat([waveform.abs().mean(1), waveform.square().mean(1), torch.ones(1)])[None]


def test_every_utterance_runs_in_its_own_bucket_and_in_order(loudness: Encoder) -> None:
    waveforms = [speech_like(duration_s, seed) for seed, duration_s in enumerate((3.3, 0.2, 1.0, 4.0))]
    graph: Any = Loudness()
    found, expected = bucketed_embeddings(loudness, waveforms), torch_embeddings(graph, waveforms)
    assert found.shape == expected.shape == (4, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_least_cosine_is_that_of_the_worst_row() -> None:
    expected = np.array([[1, 0], [1, 0], [0, 2]], np.float32)
    assert least_cosine(7 * expected, expected) == pytest.approx(1)
    assert least_cosine(np.array([[2, 0], [3, 4], [0, 1]], np.float32), expected) == pytest.approx(0.6)
    assert least_cosine(-expected, expected) == pytest.approx(-1)
    with np.errstate(invalid="ignore"):
        assert np.isnan(least_cosine(0 * expected, expected)), "a dead graph passes no limit"


def test_a_masked_graph_feels_no_padding(loudness: Encoder) -> None:
    errors = padding_error(loudness, speech_like(1.3))
    assert list(errors) == [2.0, 4.0], "every bucket that holds the waveform"
    assert max(errors.values()) < 1e-5


def test_a_leaking_graph_is_found_out(leaking: Encoder) -> None:
    errors = padding_error(leaking, speech_like(1.3))
    assert 0.5 < errors[2.0] < errors[4.0]
    full = speech_like(4.0)
    assert padding_error(leaking, full) == {4.0: 0.0}, "nothing to pad"
    assert padding_error(leaking, full[: SAMPLE_RATE_HZ // 2])[1.0] > 0.5
