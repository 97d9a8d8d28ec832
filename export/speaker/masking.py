"""The context of CAM++'s masks (Wang et al. 2023, equation 4) in two small products instead of a copy for every frame.

A published graph averages each segment of 100 frames, copies the average to all of its frames, adds the average of the
utterance and computes a mask of every frame. The masks of a segment's frames are the same, so it is enough to compute
one for each segment and to spread it at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COPYING = ("Unsqueeze", "Expand", "Reshape", "Slice")
"""What a published graph makes the copies with, in this order."""
FRAME_AXIS = 2
MASKING_OPSET = 13
"""Of the nodes here."""


def mask_segments(graph: onnx.GraphProto) -> int:
    """Compute masks by segment, in place, and return how many; graphs of other architectures have none.

    The result is the same but for rounding. All masks must be at one frame rate and of one length of segments, as
    CAM++'s are.
    """
    pools = [node for node in graph.node if node.op_type == "AveragePool" and _copies(graph, node)]
    if pools:
        _add_weights(graph, pools[0])
    for pool in pools:
        copied = _copies(graph, pool)
        assert copied is not None
        (context,) = _users(graph, copied)
        mask = _follow(graph, context, lambda node: node.op_type == "Sigmoid")
        (product,) = _users(graph, mask.output[0])
        averages = helper.make_node("MatMul", [pool.input[0], "segment_averages"], list(context.output))
        spread = helper.make_node("MatMul", [mask.output[0], "segment_frames"], [f"{mask.output[0]}_frames"])
        _put_before(graph, context, [averages])
        _put_before(graph, product, [spread])
        graph.node.remove(context)
        product.input[list(product.input).index(mask.output[0])] = spread.output[0]
    return len(pools)


def _copies(graph: onnx.GraphProto, pool: onnx.NodeProto) -> str | None:
    """Return the value that holds a segment's average for every frame, added to something; None if there is none."""
    value = pool.output[0]
    for operator in COPYING:
        found = [node for node in _users(graph, value) if node.op_type == operator and node.input[0] == value]
        if not found:
            return None
        value = found[0].output[0]
        if operator == "Reshape" and not any(node.op_type == "Slice" for node in _users(graph, value)):
            return None
    return value if [node.op_type for node in _users(graph, value)] == ["Add"] else None


def _add_weights(graph: onnx.GraphProto, pool: onnx.NodeProto) -> None:
    """Add ``segment_frames float32[segments, frames]`` of ones and zeros, and ``segment_averages`` transposed.

    The latter holds what averages over a segment and, added to it, over the utterance.
    """
    (length,) = next(attribute.ints for attribute in pool.attribute if attribute.name == "strides")
    constants = {
        "segment_axis": np.array(FRAME_AXIS), "segment_zero": np.array(0), "segment_one": np.array(1),
        "segment_length": np.array(length), "segment_column": np.array([-1, 1]),
        "segment_along": np.array([1]),
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(value.astype(np.int64), name) for name, value in constants.items())
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "segment_unit"))
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Shape", [pool.input[0]], "segment_shape", {}),
        ("Gather", ["segment_shape", "segment_axis"], "segment_count_of_frames", {"axis": 0}),
        ("Range", ["segment_zero", "segment_count_of_frames", "segment_one"], "segment_time", {}),
        ("Div", ["segment_time", "segment_length"], "segment_of_frame", {}),
        ("ReduceMax", ["segment_of_frame"], "segment_last", {"keepdims": 0}),
        ("Add", ["segment_last", "segment_one"], "segment_count", {}),
        ("Range", ["segment_zero", "segment_count", "segment_one"], "segment_indices", {}),
        ("Reshape", ["segment_indices", "segment_column"], "segment_rows", {}),
        ("Equal", ["segment_of_frame", "segment_rows"], "segment_is", {}),
        ("Cast", ["segment_is"], "segment_frames", {"to": TensorProto.FLOAT}),
        ("ReduceSum", ["segment_frames", "segment_along"], "segment_lengths", {"keepdims": 1}),
        ("Div", ["segment_frames", "segment_lengths"], "segment_weights", {}),
        ("Cast", ["segment_count_of_frames"], "segment_float_count", {"to": TensorProto.FLOAT}),
        ("Div", ["segment_unit", "segment_float_count"], "segment_share", {}),
        ("Add", ["segment_weights", "segment_share"], "segment_means", {}),
        ("Transpose", ["segment_means"], "segment_averages", {"perm": [1, 0]}),
    ]
    nodes = [helper.make_node(operator, inputs, [output], **options) for operator, inputs, output, options in steps]
    _put_before(graph, pool, nodes)


def _follow(graph: onnx.GraphProto, node: onnx.NodeProto, wanted: Callable[[onnx.NodeProto], bool]) -> onnx.NodeProto:
    """Return the first wanted node in a chain."""
    while not wanted(node):
        (node,) = _users(graph, node.output[0])
    return node


def _put_before(graph: onnx.GraphProto, place: onnx.NodeProto, nodes: list[onnx.NodeProto]) -> None:
    at = list(graph.node).index(place)
    for node in reversed(nodes):
        graph.node.insert(at, node)


def _users(graph: onnx.GraphProto, value: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if value in node.input]
