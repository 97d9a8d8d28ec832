from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.buckets import Buckets
from edge.encoder import Encoder
from edge.errors import ModelError
from edge.settings import EncoderSettings
from export.graph.half import to_half
from export.graph.nodes import value_types
from export.graph.parity import bucketed_embeddings, least_cosine, padding_error
from helpers.graphs import DIM, float_graph
from helpers.signals import speech_like

pytestmark = pytest.mark.slow

__all__ = ["float_graph"]

BUCKETS = Buckets((1.0, 2.0, 3.0))
FLOAT, HALF, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


@pytest.fixture(scope="session")
def half_graph(float_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "encoder.onnx"
    to_half(float_graph, path)
    return path


def opened(path: Path, dim: int = DIM) -> Encoder:
    encoder = Encoder(path, dim, BUCKETS, EncoderSettings(provider="cpu", threads=1))
    encoder.load()
    return encoder


def leading_to(graph: onnx.GraphProto, operator: str) -> set[str]:
    """Return every value that a node of this kind depends on."""
    needed: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type == operator or needed.intersection(node.output):
            needed.update(node.input)
    return needed


def following(graph: onnx.GraphProto, operator: str) -> set[str]:
    """Return every value that depends on a node of this kind."""
    reached: set[str] = set()
    for node in graph.node:
        if node.op_type == operator or reached.intersection(node.input):
            reached.update(node.output)
    return reached


def test_half_precision_answers_like_float(float_graph: Path, half_graph: Path) -> None:
    voices = [speech_like(duration_s, seed) for seed, duration_s in enumerate((0.3, 0.99, 1.0, 1.7, 2.4, 3.0))]
    waveforms = [*voices, 20 * voices[1].clip(-0.05, 0.05), 1e-4 * voices[3], np.zeros(16_000, np.float32)]
    found, expected = (bucketed_embeddings(opened(path), waveforms) for path in (half_graph, float_graph))
    assert np.isfinite(found).all()
    assert least_cosine(found, expected) >= 0.999


def test_batches_answer_like_single_utterances(half_graph: Path) -> None:
    encoder = opened(half_graph)
    waveforms = [speech_like(duration_s, seed) for seed, duration_s in enumerate((0.4, 1.1, 1.9))]
    together = encoder.embed(waveforms, BUCKETS.samples[1])
    assert least_cosine(together, bucketed_embeddings(encoder, waveforms)) >= 0.9999


def test_padding_changes_nothing(half_graph: Path) -> None:
    errors = padding_error(opened(half_graph), speech_like(0.9))
    assert len(errors) == 3
    assert max(errors.values()) < 5e-3


def test_the_device_sees_the_same_contract(float_graph: Path, half_graph: Path) -> None:
    before, after = onnx.load(float_graph), onnx.load(half_graph)
    assert list(before.graph.input) == list(after.graph.input)
    assert list(before.graph.output) == list(after.graph.output)
    assert before.opset_import == after.opset_import
    assert (before.producer_name, before.doc_string) == (after.producer_name, after.doc_string)


def test_the_front_end_keeps_its_precision(float_graph: Path, half_graph: Path) -> None:
    before, after = onnx.load(float_graph), onnx.load(half_graph)
    types = value_types(after)
    front = leading_to(after.graph, "Log")
    assert "waveform" in front
    assert {types[name] for name in front} >= {FLOAT, INT64}
    assert HALF not in {types[name] for name in front}
    constants = [
        {
            tensor.name: numpy_helper.to_array(tensor).tolist()
            for tensor in model.graph.initializer
            if tensor.name in leading_to(model.graph, "Log")
        }
        for model in (before, after)
    ]
    assert constants[0] == constants[1]
    assert max(np.size(values) for values in constants[1].values()) >= 80 * 201, "the mel filters"


def test_everything_learned_before_the_pooling_is_half_and_the_rest_is_not(half_graph: Path) -> None:
    model = onnx.load(half_graph)
    types = value_types(model)
    front, pooled = leading_to(model.graph, "Log"), following(model.graph, "ReduceSum")
    divided = {name for node in model.graph.node if node.op_type == "Div" for name in node.input}
    pooled |= {name for node in model.graph.node if node.op_type == "MatMul" for name in node.output if name in divided}
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm", "Conv")]
    body = [node for node in products if not {*node.output} & (front | pooled)]
    assert len(body) == 2 + 8, "two convolutions; queries, keys, values, scores, mixtures, outputs and two products"
    assert {types[name] for node in body for name in (*node.input, *node.output)} == {HALF}
    assert {types[name] for name in pooled} == {FLOAT}
    half = {name for name, kind in types.items() if kind == HALF}
    assert {name for name in half if name in pooled | front} == set()


def test_what_crosses_is_cast_once(half_graph: Path) -> None:
    casts = [
        (node.input[0], node.attribute[0].i) for node in onnx.load(half_graph).graph.node if node.op_type == "Cast"
    ]
    assert len(casts) == len(set(casts))


def test_the_file_shrinks_by_the_weights(float_graph: Path, half_graph: Path) -> None:
    halved = sum(
        numpy_helper.to_array(tensor).size
        for tensor in onnx.load(half_graph).graph.initializer
        if tensor.data_type == HALF
    )
    assert halved > 40_000
    assert float_graph.stat().st_size - half_graph.stat().st_size > 1.9 * halved - 20_000


def small(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
) -> Path:
    """Write a graph from waveform and lengths to an embedding, for what the exporter's own graphs do not show."""
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("waveform", FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info("lengths", INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("embedding", FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


TOKENS = [
    helper.make_node("Unsqueeze", ["waveform", "last"], ["column"]),
    helper.make_node("MatMul", ["column", "weights"], ["tokens"]),
]
WEIGHTS: dict[str, np.ndarray] = {
    "last": np.array([-1], np.int64),
    "weights": np.array([[1.0, -2.0]], np.float32),
    "time": np.array([1], np.int64),
}


def test_a_sum_that_float16_cannot_hold(tmp_path: Path) -> None:
    nodes = [*TOKENS, helper.make_node("ReduceSum", ["tokens", "time"], ["embedding"], keepdims=0)]
    path = small(tmp_path / "float.onnx", nodes, WEIGHTS)
    to_half(path, tmp_path / "half.onnx")
    (found,) = opened(tmp_path / "half.onnx", 2).embed([np.full(48_000, 10, np.float32)], 48_000)
    assert found == pytest.approx([480_000, -960_000], rel=1e-3)


def test_masks_of_the_least_float_stay_finite(tmp_path: Path) -> None:
    nodes = [
        *TOKENS,
        helper.make_node("Unsqueeze", ["lengths", "both"], ["ends"]),
        helper.make_node("Greater", ["ends", "limit"], ["outside"]),
        helper.make_node("Where", ["outside", "least", "nothing"], ["mask"]),
        helper.make_node("Add", ["tokens", "mask"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=1),
        helper.make_node("ReduceMean", ["shares", "time"], ["embedding"], keepdims=0),
    ]
    constants = WEIGHTS | {
        "both": np.array([1, 2], np.int64),
        "limit": np.array(0, np.int64),
        "least": np.array(np.finfo(np.float32).min),
        "nothing": np.array(0, np.float32),
    }
    to_half(small(tmp_path / "float.onnx", nodes, constants), tmp_path / "half.onnx")
    found = opened(tmp_path / "half.onnx", 2).embed([speech_like(1.0)], 16_000)
    assert np.isfinite(found).all(), "every key of this row is masked"


@pytest.mark.parametrize(("limits", "expected"), [(["three"], 3), (["", "two"], 1), (["three", "four"], 3)])
def test_limits_of_integers_are_maximum_and_minimum(limits: list[str], expected: int, tmp_path: Path) -> None:
    nodes = [
        *TOKENS,
        helper.make_node("Clip", ["lengths", *limits], ["limited"]),
        helper.make_node("Cast", ["limited"], ["count"], to=FLOAT),
        helper.make_node("Unsqueeze", ["count", "last"], ["counts"]),
        helper.make_node("ReduceMean", ["tokens", "time"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "counts"], ["embedding"]),
    ]
    numbers = {name: np.array(value, np.int64) for name, value in (("two", 2), ("three", 3), ("four", 4))}
    path = small(tmp_path / "float.onnx", nodes, WEIGHTS | numbers | {"zero": np.array(0, np.float32)})
    to_half(path, tmp_path / "half.onnx")
    assert not [node for node in onnx.load(tmp_path / "half.onnx").graph.node if node.op_type == "Clip"]
    for path in (tmp_path / "float.onnx", tmp_path / "half.onnx"):
        found = opened(path, 2).embed_padded(np.zeros((1, 16_000), np.float32), np.array([1], np.int64))
        assert found.tolist() == [[expected, expected]]


def test_a_weight_beyond_float16_is_refused(tmp_path: Path) -> None:
    nodes = [*TOKENS, helper.make_node("ReduceMean", ["tokens", "time"], ["embedding"], keepdims=0)]
    path = small(tmp_path / "float.onnx", nodes, WEIGHTS | {"weights": np.array([[1.0, 7e4]], np.float32)})
    with pytest.raises(ModelError, match=r"weights: holds 7e\+04, and half precision ends at 65,504"):
        to_half(path, tmp_path / "half.onnx")
    assert not (tmp_path / "half.onnx").exists()


def test_a_graph_without_weights_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["waveform", "time"], ["mean"], keepdims=1),
        helper.make_node("Concat", ["mean", "mean"], ["embedding"], axis=1),
    ]
    path = small(tmp_path / "float.onnx", nodes, WEIGHTS)
    with pytest.raises(ModelError, match="has no learned layers"):
        to_half(path, tmp_path / "half.onnx")
