from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.utils.flop_counter import FlopCounterMode
from transformers import HubertConfig, HubertModel, Wav2Vec2Model, WhisperConfig

from edge.audio import SAMPLE_RATE_HZ
from export.bundle.latency import SHAPES, ShapedEncoder
from export.graph.inventory import graph_flops
from export.measure.peers import WhisperPeer

SAMPLES = 400
FRAMES = 40


def graph(folder: Path, *nodes: onnx.NodeProto, **weights: np.ndarray) -> Path:
    """Write an encoder whose waveform is also there as ``frames float32[batch, 1, frames, 10]``."""
    shape = np.array([-1, 1, FRAMES, 10], np.int64)
    first = helper.make_node("Reshape", ["waveform", "shape"], ["frames"])
    model = helper.make_model(
        helper.make_graph(
            [first, *nodes],
            "counted",
            [
                helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"]),
                helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
            ],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in {"shape": shape, **weights}.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    path = folder / "encoder.onnx"
    onnx.save(model, path)
    return path


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_a_product_counts_two_operations_for_each_multiply_add(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["frames", "w"], ["out"])
    assert graph_flops(graph(tmp_path, node, w=ones(10, 7)), SAMPLES) == 2 * FRAMES * 10 * 7


def test_a_product_of_two_activations_counts(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["frames"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["frames", "turned"], ["out"]),
    ]
    assert graph_flops(graph(tmp_path, *nodes), SAMPLES) == 2 * FRAMES * FRAMES * 10


def test_a_transposed_product_sums_over_the_right_axis(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Squeeze", ["frames", "axes"], ["matrix"]),
        helper.make_node("Gemm", ["matrix", "w"], ["out"], transA=1),
    ]
    path = graph(tmp_path, *nodes, w=ones(FRAMES, 3), axes=np.array([0, 1], np.int64))
    assert graph_flops(path, SAMPLES) == 2 * 10 * FRAMES * 3


def test_a_convolution_counts_its_own_group_only(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", ["frames", "frames"], ["two"], axis=1),
        helper.make_node("Conv", ["two", "w"], ["out"], group=2, strides=[2, 1], kernel_shape=[2, 5]),
    ]
    path = graph(tmp_path, *nodes, w=ones(6, 1, 2, 5))
    assert graph_flops(path, SAMPLES) == 2 * (6 * 20 * 6) * (1 * 2 * 5)


def test_int8_products_count_as_float_ones(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["frames"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["out"], to=TensorProto.FLOAT),
    ]
    assert graph_flops(graph(tmp_path, *nodes, w=np.ones((10, 7), np.int8)), SAMPLES) == 2 * FRAMES * 10 * 7


def test_a_graph_without_products_counts_nothing(tmp_path: Path) -> None:
    assert graph_flops(graph(tmp_path, helper.make_node("Abs", ["frames"], ["out"])), SAMPLES) == 0


SMALL = HubertConfig(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    conv_dim=(8,) * 7,
    num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=2,
)


def test_a_peer_counts_its_attention_and_stays_as_it_was() -> None:
    peer = ShapedEncoder(SMALL)
    waveform = np.zeros(SAMPLE_RATE_HZ, np.float32)
    before = peer.model.config._attn_implementation
    whole = peer.flops(waveform)
    assert peer.model.config._attn_implementation == before
    frames, width, inner = 49, 16, 32
    layer = 2 * frames * (4 * width * width + 2 * width * inner + 2 * frames * width)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        features = peer.model.feature_extractor(torch.from_numpy(waveform)[None]).transpose(1, 2)
        hidden = peer.model.feature_projection(features)
        peer.model.encoder.pos_conv_embed(hidden)
    assert whole == counter.get_total_flops() + SMALL.num_hidden_layers * layer


def test_a_peer_hears_the_whole_waveform_without_gradients() -> None:
    output = ShapedEncoder(SMALL)(np.zeros(SAMPLE_RATE_HZ, np.float32))
    assert output.last_hidden_state.shape == (1, 49, 16)  # type: ignore[attr-defined]
    assert output.last_hidden_state.is_inference()  # type: ignore[attr-defined]


def test_whisper_always_hears_30_seconds() -> None:
    config = WhisperConfig(d_model=8, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=8)
    peer = WhisperPeer(config)
    output = peer(np.zeros(SAMPLE_RATE_HZ, np.float32))
    assert output.last_hidden_state.shape == (1, 1500, 8)  # type: ignore[attr-defined]
    assert peer.weights == "random"
    assert peer.flops(np.zeros(1, np.float32)) > 0


@pytest.mark.parametrize(
    ("name", "millions"),
    [("DistilHuBERT", 23.5), ("HuBERT-base", 95), ("wav2vec2-large-12", 164), ("HuBERT-large", 316)],
)
def test_the_shapes_are_those_of_the_papers(name: str, millions: float) -> None:
    config = SHAPES[f"{name} shape"]
    with torch.device("meta"):
        model = HubertModel(config) if isinstance(config, HubertConfig) else Wav2Vec2Model(config)
    size = sum(weight.numel() for weight in model.parameters()) / 1e6
    assert size == pytest.approx(millions, rel=0.02)
