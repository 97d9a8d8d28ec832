from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from signals import speech_like

from calibrate.run import Run
from edge.buckets import Buckets
from edge.bundle import ENCODER_NAME
from edge.encoder import Encoder
from edge.settings import EncoderSettings
from export import quantise
from export.graph import OPSET, EmbeddingGraph
from export.parity import bucketed_embeddings, least_cosine, torch_embeddings
from export.quantise import quantise_int8, store_half

BUCKETS_S = (1.0, 2.0, 3.0)


@pytest.fixture(scope="session")
def float_path(exported: object) -> Path:
    return exported.folder / ENCODER_NAME  # type: ignore[attr-defined, no-any-return]


@pytest.fixture(scope="session")
def int8_path(float_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / ENCODER_NAME
    quantise_int8(float_path, path)
    return path


def operators(model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == name]


def tensors(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def opened(path: Path) -> Encoder:
    encoder = Encoder(path, 16, Buckets(BUCKETS_S), EncoderSettings(provider="cpu", threads=1))
    encoder.load()
    return encoder


def test_only_matrix_products_with_constant_weights_become_int8(float_path: Path, int8_path: Path) -> None:
    before, after = onnx.load(float_path), onnx.load(int8_path)
    weights = tensors(before)
    constant = [node for node in operators(before, "MatMul") if node.input[1] in weights]
    assert len(operators(after, "MatMulInteger")) == len(constant) + len(operators(before, "Gemm")) > 5
    assert len(operators(after, "MatMul")) == len(operators(before, "MatMul")) - len(constant) > 0
    assert len(operators(after, "Conv")) == len(operators(before, "Conv")) > 0
    assert not operators(after, "ConvInteger") + operators(after, "QLinearConv") + operators(after, "Gemm")


def test_weights_are_int8_per_output_channel_and_symmetric(int8_path: Path) -> None:
    model = onnx.load(int8_path)
    held = tensors(model)
    for node in operators(model, "MatMulInteger"):
        weight, zero = held[node.input[1]], held[node.input[3]]
        assert weight.data_type == TensorProto.INT8
        assert list(zero.dims) == [weight.dims[1]]
        assert not numpy_helper.to_array(zero).any()
        scale = held[f"{weight.name.removesuffix('_quantized')}_scale"]
        assert list(scale.dims) == [weight.dims[1]]
        assert len(np.unique(numpy_helper.to_array(scale))) > 1


def test_the_int8_graph_says_what_it_is(float_path: Path, int8_path: Path) -> None:
    before, after = onnx.load(float_path), onnx.load(int8_path)
    assert after.producer_name == "affectd-export"
    assert after.producer_version == before.producer_version
    assert after.doc_string == before.doc_string == "tiny 7: whisper, layers [0, 1] pooled"
    assert ("", OPSET) in [(opset.domain, opset.version) for opset in after.opset_import]
    assert [value.name for value in (*after.graph.input, *after.graph.output)] == ["waveform", "lengths", "embedding"]


def test_int8_stays_close_and_shrinks_the_file(run: Run, float_path: Path, int8_path: Path) -> None:
    waveforms = [speech_like(duration_s, seed) for seed, duration_s in enumerate((0.4, 1.0, 1.7, 3.0))]
    expected = torch_embeddings(EmbeddingGraph.of(run), waveforms)
    assert least_cosine(bucketed_embeddings(opened(int8_path), waveforms), expected) > 0.97
    held = tensors(onnx.load(int8_path))
    assert sum(tensor.data_type == TensorProto.INT8 for tensor in held.values()) > 5


def test_large_tensors_are_stored_in_half_precision_except_the_fourier_basis(
    float_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(float_path)
    large = {name for name, tensor in tensors(model).items() if np.prod(tensor.dims) >= 2_000}
    (basis,) = (name for name in large if "basis" in name)
    monkeypatch.setattr(quantise, "HALF_MINIMUM", 2_000)
    store_half(model)
    store_half(model)
    onnx.checker.check_model(model, full_check=True)
    held = tensors(model)
    assert held[basis].data_type == TensorProto.FLOAT
    halves = {name for name, tensor in held.items() if tensor.data_type == TensorProto.FLOAT16}
    assert halves == {f"{name}_half" for name in large - {basis}}
    assert len(halves) >= 3, "positions, convolution, mel filters"
    path = tmp_path / ENCODER_NAME
    onnx.save(model, path)
    assert path.stat().st_size < float_path.stat().st_size - 30_000
    waveforms = [speech_like(duration_s, seed) for seed, duration_s in enumerate((0.4, 1.7, 3.0))]
    found, expected = (bucketed_embeddings(opened(each), waveforms) for each in (path, float_path))
    assert least_cosine(found, expected) > 0.9999
    assert np.abs(found - expected).max() < 1e-2 * np.abs(expected).max()


def test_small_tensors_stay_as_they_are(float_path: Path) -> None:
    model = onnx.load(float_path)
    before = model.SerializeToString(deterministic=True)
    store_half(model)
    assert model.SerializeToString(deterministic=True) == before
