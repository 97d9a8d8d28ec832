"""Speaker encoders made smaller: masks by segment, int8 convolutions, packed weights; on tiny graphs."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from export.graph.compact import compact
from export.speaker.int8 import quantise_convolutions
from export.speaker.masking import mask_segments
from export.speaker.packing import pack_seven_bits
from export.speaker.rounding import patches, round_rows

CHANNELS = 8


def masked(opset: int = 13) -> onnx.ModelProto:
    """``x float32[1, T, 80]`` to ``embedding float32[1, 8]`` as CAM++ is built, with one mask for 100 frames."""
    rng = np.random.default_rng(0)
    floats = {
        "first": rng.normal(0, 0.1, (CHANNELS, 80, 1)), "local": rng.normal(0, 0.3, (CHANNELS, CHANNELS, 3)),
        "down": rng.normal(0, 0.3, (4, CHANNELS, 1)), "up": rng.normal(0, 1, (CHANNELS, 4, 1)),
        "bias": rng.normal(0, 0.1, CHANNELS), "scale": rng.uniform(0.1, 3, CHANNELS),
        "offset": rng.normal(0, 0.1, CHANNELS), "mean": rng.normal(0, 0.1, CHANNELS),
        "variance": rng.uniform(0.5, 2, CHANNELS),
    }  # fmt: skip
    whole = {"last": [-1], "copies": [1, 1, 1, 100], "flat": [1, CHANNELS, -1], "start": [0], "axis": [2], "time": [2]}
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["channels"], perm=[0, 2, 1]),
        node("Conv", ["channels", "first"], ["h0"]),
        node("BatchNormalization", ["h0", "scale", "offset", "mean", "variance"], ["normal"]),
        node("Relu", ["normal"], ["h"]),
        node("Conv", ["h", "local", "bias"], ["y"], pads=[1, 1]),
        node("ReduceMean", ["y"], ["context"], axes=[-1], keepdims=1),
        node("AveragePool", ["y"], ["pooled"], kernel_shape=[100], strides=[100], ceil_mode=1),
        node("Unsqueeze", ["pooled", "last"], ["wide"]),
        node("Expand", ["wide", "copies"], ["copied"]),
        node("Reshape", ["copied", "flat"], ["long"]),
        node("Shape", ["y"], ["shape"]),
        node("Gather", ["shape", "time"], ["frames"]),
        node("Slice", ["long", "start", "frames", "axis"], ["cut"]),
        node("Add", ["context", "cut"], ["both"]),
        node("Conv", ["both", "down"], ["narrow"]),
        node("Relu", ["narrow"], ["narrow_relu"]),
        node("Conv", ["narrow_relu", "up"], ["logit"]),
        node("Sigmoid", ["logit"], ["mask"]),
        node("Mul", ["y", "mask"], ["masked"]),
        node("ReduceMean", ["masked"], ["embedding"], axes=[2], keepdims=0),
    ]
    constants = {name: value.astype(np.float32) for name, value in floats.items()}
    constants |= {name: np.array(value, np.int64) for name, value in whole.items()}
    graph = helper.make_graph(
        nodes,
        "masked",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "T", 80])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, CHANNELS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: onnx.ModelProto, features: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": features})
    return np.asarray(found)


def features(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (1, frames, 80)).astype(np.float32)


@pytest.mark.parametrize("frames", [40, 100, 101, 250, 300])
def test_masks_by_segment_are_the_same(frames: int) -> None:
    model, original = masked(), masked()
    assert mask_segments(model.graph) == 1
    compact(model.graph)
    onnx.checker.check_model(model)
    assert {node.op_type for node in model.graph.node}.isdisjoint({"AveragePool", "Expand", "Slice"})
    np.testing.assert_allclose(run(model, features(frames)), run(original, features(frames)), atol=1e-5)


def test_a_pool_without_copies_stays() -> None:
    model = masked()
    slices = next(node for node in model.graph.node if node.op_type == "Slice")
    slices.op_type = "Identity"
    assert mask_segments(model.graph) == 0


@pytest.mark.parametrize("masks", [False, True])
def test_int8_is_near_float_and_reproducible(masks: bool) -> None:
    original, written = masked(), []
    for _ in range(2):
        model = masked()
        if masks:
            mask_segments(model.graph)
        quantise_convolutions(model, [features(200, seed) for seed in range(8)])
        compact(model.graph)
        onnx.checker.check_model(model)
        written.append(model.SerializeToString())
    assert written[0] == written[1]
    stored = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8]
    assert len(stored) >= 3
    found, expected = (run(each, features(230, 99))[0] for each in (model, original))
    assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) > 0.995


def test_int8_needs_convolutions_behind_the_first() -> None:
    model = masked()
    for node in list(model.graph.node)[4:]:
        model.graph.node.remove(node)
    model.graph.output[0].name = "h"
    with pytest.raises(ModelError, match="no convolutions"):
        quantise_convolutions(model, [features(50)])


@pytest.mark.parametrize("shape", [(3, 8), (5, 16, 3)])
def test_seven_bits_come_back(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(-63, 64, shape).astype(np.int8)
    constants, nodes = pack_seven_bits(values, "weight")
    assert constants["weight_packed"].nbytes == values.nbytes * 7 // 8
    graph = helper.make_graph(
        nodes,
        "unpack",
        [],
        [helper.make_tensor_value_info("weight", TensorProto.INT8, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {})[0], values)


@pytest.mark.parametrize(
    ("kernel", "options"),
    [((1,), {}), ((3,), {"pads": [2, 2], "dilations": [2]}), ((3, 3), {"strides": [2, 1], "pads": [1, 1, 1, 1]})],
)
def test_patches_are_what_a_convolution_reads(kernel: tuple[int, ...], options: dict[str, list[int]]) -> None:
    rng = np.random.default_rng(0)
    value = rng.normal(0, 1, (4, *[12] * len(kernel))).astype(np.float32)
    weight = rng.normal(0, 1, (5, 4, *kernel)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "weight"], ["y"], **options)
    sizes = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "convolution",
        [sizes("x", TensorProto.FLOAT, [1, *value.shape])],
        [sizes("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    expected = run(model, value[None])[0]
    found = patches(value, node, kernel) @ weight.reshape(5, -1).T
    np.testing.assert_allclose(found.T.reshape(expected.shape), expected, atol=1e-4)


@pytest.mark.parametrize("width", [16, 200])
def test_rows_rounded_together_change_the_output_less(width: int) -> None:
    rng = np.random.default_rng(0)
    seen = rng.normal(0, 1, (400, 8)) @ rng.normal(0, 1, (8, width)) + rng.normal(0, 0.2, (400, width))
    rows = rng.normal(0, 1, (6, width)).astype(np.float32)
    scale = (np.abs(rows).max(axis=1) / 7).astype(np.float32)
    errors = []
    for moments in (None, seen.T @ seen / len(seen)):
        rounded = round_rows(rows, scale, 7, moments)
        assert rounded.dtype == np.int8
        assert np.abs(rounded).max() <= 7
        errors.append(np.square(seen @ (rounded * scale[:, None] - rows).T).sum())
    assert errors[1] < errors[0] / 3


def test_an_input_that_is_always_zero_is_rounded_by_itself() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (3, 8)).astype(np.float32)
    scale = np.full(3, 0.1, np.float32)
    np.testing.assert_array_equal(round_rows(rows, scale, 63, np.zeros((8, 8))), round_rows(rows, scale, 63, None))
