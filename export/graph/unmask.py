"""Masks that a graph can do without once its int8 ranges are constants.

An encoder zeroes padded rows before every product, so that they never widen a range that is measured. Where ranges are
constants, padding matters only where times mix.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from export.graph.nodes import following, producers, readers, traced_back

MIXING = {
    "Conv", "ConvTranspose", "CumSum", "GlobalAveragePool", "GRU", "LSTM", "MultiHeadAttention", "Pad", "Scan",
    "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare",
}  # fmt: skip
"""Across time, whatever is padding."""


def drop_masks(graph: onnx.GraphProto) -> int:
    """Drop multiplications with a mask of rows, in place, from where on padding cannot reach valid rows.

    From there on times mix only in attention, whose scores are masked, and in products with weights from outside,
    as of the pooling, which are masked too. A value keeps the name that it had behind its mask.

    Returns:
        How many there were.
    """
    dropped = 0
    for node in [node for node in graph.node if node.op_type == "Mul"]:
        made_by = producers(graph)
        masks = [name for name in node.input if _is_mask(made_by, name)]
        values = [name for name in node.input if name not in masks]
        if len(masks) != 1 or len(values) != 1 or values[0] not in made_by or not _stays_apart(graph, made_by, node):
            continue
        for other in readers(graph, values[0]):
            other.input[:] = [node.output[0] if name == values[0] else name for name in other.input]
        maker = made_by[values[0]]
        maker.output[:] = [node.output[0] if name == values[0] else name for name in maker.output]
        graph.node.remove(node)
        dropped += 1
    return dropped


def _is_mask(made_by: Mapping[str, onnx.NodeProto], name: str) -> bool:
    """Whether a value is the comparison of times with lengths, as numbers with one channel."""
    return traced_back(made_by, name, "Cast", "Unsqueeze", "Less") is not None


def _stays_apart(graph: onnx.GraphProto, made_by: Mapping[str, onnx.NodeProto], node: onnx.NodeProto) -> bool:
    """Whether nothing behind a node mixes times but what masks them itself."""
    nodes = list(graph.node)
    behind = following(nodes, set(node.output))
    reached = set(node.output) | {name for index in behind for name in nodes[index].output}
    weights = {tensor.name for tensor in graph.initializer}
    for each in (nodes[index] for index in behind):
        if each.op_type in MIXING:
            return False
        if each.op_type == "Softmax" and not _masked(made_by, each):
            return False
        if each.op_type == "MatMul" and each.input[1] not in weights and each.input[1] in reached:
            left = each.input[0]
            if left in reached and not _part_of_attention(graph, made_by, each):
                return False
    return True


def _masked(made_by: Mapping[str, onnx.NodeProto], softmax: onnx.NodeProto) -> bool:
    """Whether what enters a softmax is the sum of scores and a choice between nothing and much less."""
    total = made_by.get(softmax.input[0])
    return (
        total is not None
        and total.op_type == "Add"
        and any(traced_back(made_by, name, "Unsqueeze", "Where") is not None for name in total.input)
    )


def _part_of_attention(graph: onnx.GraphProto, made_by: Mapping[str, onnx.NodeProto], product: onnx.NodeProto) -> bool:
    """Whether a product is that of queries and keys, or of the softmax of these and values."""
    if traced_back(made_by, product.input[0], "Softmax") is not None:
        return True
    sums = readers(graph, product.output[0])
    return len(sums) == 1 and [node.op_type for node in readers(graph, sums[0].output[0])] == ["Softmax"]
