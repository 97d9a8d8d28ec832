from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.buckets import Buckets
from export.graph.half import to_half
from export.graph.nodes import value_types
from helpers.graphs import float_graph
from helpers.signals import speech_like
from helpers.tensorrt import OPSETS, bucket_graph, dynamic_values, unsupported

pytestmark = pytest.mark.slow

__all__ = ["float_graph"]

BUCKETS = Buckets((1.0, 1.5, 3.0))
SHAPES = [(samples, batch) for samples in BUCKETS for batch in (1, 3)]
INT64 = TensorProto.INT64


@pytest.fixture(scope="session")
def half_graph(float_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("targets") / "encoder.onnx"
    to_half(float_graph, path)
    return path


@pytest.fixture(scope="session")
def fixed(half_graph: Path) -> dict[tuple[int, int], onnx.ModelProto]:
    """The half-precision graph of each bucket, alone and in a batch."""
    return {(samples, batch): bucket_graph(half_graph, samples, batch) for samples, batch in SHAPES}


def following(graph: onnx.GraphProto, value: str) -> set[str]:
    """Return everything that depends on a value."""
    reached = {value}
    for node in graph.node:
        if reached.intersection(node.input):
            reached.update(node.output)
    return reached


@pytest.mark.slow
@pytest.mark.parametrize(("samples", "batch"), SHAPES)
def test_every_shape_of_a_bucket_is_known(
    samples: int, batch: int, fixed: dict[tuple[int, int], onnx.ModelProto]
) -> None:
    model = fixed[samples, batch]
    assert dynamic_values(model) == []
    named = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    assert {name for node in model.graph.node for name in node.output} == named
    waveform = model.graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in waveform.dim] == [batch, samples]


@pytest.mark.parametrize(("samples", "batch"), SHAPES)
def test_tensorrt_takes_every_node(
    samples: int, batch: int, half_graph: Path, fixed: dict[tuple[int, int], onnx.ModelProto]
) -> None:
    assert unsupported(onnx.load(half_graph)) == []
    assert unsupported(fixed[samples, batch]) == []


@pytest.mark.parametrize(("samples", "batch"), SHAPES)
def test_integers_are_lengths_and_small(
    samples: int, batch: int, fixed: dict[tuple[int, int], onnx.ModelProto]
) -> None:
    graph = fixed[samples, batch].graph
    types = value_types(fixed[samples, batch])
    computed = {name for node in graph.node for name in node.output if types[name] == INT64}
    assert computed <= following(graph, "lengths"), "what depends on shapes alone is a constant"
    assert not computed & following(graph, "waveform")
    constants = [numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.data_type == INT64]
    assert all(np.abs(values).max(initial=0) < 2**31 for values in constants), "TensorRT indexes with 32 bits"
    assert TensorProto.DOUBLE not in types.values()


def test_a_buckets_graph_answers_like_the_whole(
    half_graph: Path, fixed: dict[tuple[int, int], onnx.ModelProto]
) -> None:
    samples, batch = SHAPES[-1]
    waveform = np.stack([speech_like(samples / 16_000, seed) for seed in range(batch)])
    inputs = {"waveform": waveform, "lengths": np.array([samples, samples // 2, 5_000], np.int64)}
    content = fixed[samples, batch].SerializeToString()
    found, expected = (
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, inputs)[0]
        for model in (content, half_graph)
    )
    assert found == pytest.approx(expected, abs=5e-3)


def test_the_float_graph_does_not_surprise_tensorrt(float_graph: Path) -> None:
    """It clips no integers, which TensorRT does with floats alone."""
    assert unsupported(onnx.load(float_graph)) == []


def test_what_tensorrt_lacks_is_named() -> None:
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3]),
        helper.make_tensor_value_info("axes", INT64, [1]),
    ]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"], name="a"),
        helper.make_node("Cast", ["x"], ["double"], name="b", to=TensorProto.DOUBLE),
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"], name="c"),
        helper.make_node("CumSum", ["axes", "axis"], ["so_far"], name="d"),
        helper.make_node("FusedMatMul", ["x", "x"], ["y"], name="e", domain="com.microsoft"),
        helper.make_node("ReduceSum", ["x", "axis_0"], ["fine"], name="f"),
        helper.make_node("Relu", ["x"], ["fine_too"], name="g"),
    ]
    constants = [helper.make_tensor("axis", TensorProto.INT32, [], [0]), helper.make_tensor("axis_0", INT64, [1], [0])]
    graph = helper.make_graph(
        nodes, "strange", inputs, [helper.make_tensor_value_info("sum", TensorProto.FLOAT, None)], constants
    )
    opsets = [helper.make_opsetid("", OPSETS.stop), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    assert unsupported(model) == [
        f"opset {OPSETS.stop}",
        "DynamicQuantizeLinear (a)",
        "Cast of DOUBLE (b)",
        "ReduceSum over axes that are not constant (c)",
        "CumSum of INT64 (d)",
        "com.microsoft.FusedMatMul (e)",
    ]


def test_the_default_bundle_is_not_for_tensorrt() -> None:
    encoder = Path(__file__).resolve().parents[2] / "edge" / "bundles" / "default" / "encoder.onnx"
    reasons = unsupported(onnx.load(encoder))
    assert any(reason.startswith("MatMulInteger (") for reason in reasons)
