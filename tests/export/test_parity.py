from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from calibrate.corpora import Utterance
from calibrate.dataset import Part
from edge.audio import SAMPLE_RATE_HZ
from edge.buckets import Buckets
from edge.bundle import Bundle
from edge.encoder import Encoder
from edge.settings import EncoderSettings
from export.graph.parity import (
    batch_error,
    bucketed_embeddings,
    cosines,
    least_cosine,
    padding_error,
    padding_errors,
    some_speech,
    torch_embeddings,
)
from helpers.models import write_clip
from helpers.signals import speech_like

SETTINGS = EncoderSettings(provider="cpu", threads=1)


@pytest.fixture
def loudness(bundle: Bundle) -> Encoder:
    """Embeds (mean |x|, mean x², 1) of the valid samples; buckets of 1, 2 and 4 s."""
    encoder = Encoder.of(bundle, SETTINGS)
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
    np.testing.assert_allclose(
        cosines(np.array([[2, 0], [3, 4], [0, 1]], np.float32), expected), [1, 0.6, 1], rtol=1e-6
    )
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


def test_every_bucket_has_the_worst_of_what_is_padded_to_it(loudness: Encoder, leaking: Encoder) -> None:
    speech = [speech_like(1.3), speech_like(0.5, 1)]
    assert max(padding_errors(loudness, speech).values()) < 1e-5
    errors = padding_errors(leaking, speech)
    assert list(errors) == [1.0, 2.0, 4.0]
    assert 0 < errors[1.0] < errors[2.0] < errors[4.0], "the shortest utterance is padded most"


def test_mates_in_a_batch_move_nobody_unless_something_is_shared(
    loudness: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = [speech_like(1.0 + row / 20, row) for row in range(11)]
    assert batch_error(loudness, speech) < 1e-5
    embed = loudness.embed_padded

    def sharing(padded: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return embed(padded, lengths) * (1.5 if len(padded) == 3 else 1)

    monkeypatch.setattr(loudness, "embed_padded", sharing)
    assert batch_error(loudness, speech) == pytest.approx(0.5), "the second batch is of three"


def test_speech_is_drawn_from_what_is_readable_the_same_in_every_run(tmp_path: Path) -> None:
    utterances = []
    for row in range(40):
        path = tmp_path / f"{row}.wav"
        if row % 4:
            write_clip(path, speech_like(1.0 + row / 100, row))
        utterances.append(Utterance(path, "large" if row < 36 else "small", "somebody", "happy"))
    part = Part(utterances, np.zeros(40, np.int64))
    found = some_speech(part, 8, longest=15_000)
    assert len(found) == 8
    assert all(0 < len(waveform) <= 15_000 for waveform in found)
    again = some_speech(part, 8)
    assert all(np.array_equal(a, b[:15_000]) for a, b in zip(found, again, strict=True))
    assert len(some_speech(part, 99)) == 30, "a quarter cannot be read"
    assert some_speech(part.select(np.zeros(40, bool)), 8) == []
