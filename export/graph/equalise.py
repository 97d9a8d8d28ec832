"""One int8 range for all channels of a value: scales move between what computes it and the products that read it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge.arrays import Matrix
from export.graph.copies import copied_over_time
from export.graph.nodes import producers, readers, traced_back

Extremes = tuple[Matrix, Matrix]
"""Least and greatest value of every channel, ``float32[channels]``; zero is between."""
Range = tuple[float, float]
"""Least and greatest value that int8 represents."""


def equalise(graph: onnx.GraphProto, products: Collection[str], extremes: Mapping[str, Extremes]) -> dict[str, Range]:
    """Make the channels that enter products alike in range, so that one range for all rounds the small ones less.

    Their scales go into the weights of the products (SmoothQuant, Xiao et al. 2023, equation 4, alpha a half), and the
    inverse into the layer norm before, through attention into the projection of its values or, where there is neither,
    into a multiplication of its own. The graph computes the same.

    Args:
        graph: changed in place.
        products: names of the nodes.
        extremes: of what enters them.

    Returns:
        The range of what enters them now.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    norms, ranges = _norms(graph, products), {}
    for value, (low, high) in extremes.items():
        users = [node for node in readers(graph, value) if node.name in products]
        weights = [numpy_helper.to_array(tensors[node.input[1]]) for node in users]
        needed = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
        copied = copied_over_time(graph, value)
        taps = len(copied.slices) if copied else 1
        magnitudes = _over_taps(np.maximum(-low, high), taps)
        scale = np.sqrt(_positive(magnitudes) / _positive(_over_taps(needed, taps))).astype(np.float32)
        scaled = [(norms[value], (1, 2))] if value in norms else _projection(graph, tensors, value)
        for node, places in scaled:
            for place in places:
                _scale(graph, tensors, node, place, 1 / scale)
        read = value
        if copied:
            _divide(graph, copied.pad.input[0], [copied.pad], scale)
        elif not scaled:
            read = _divide(graph, value, users, scale)
        scale = np.tile(scale, taps)
        for node in users:
            _scale(graph, tensors, node, 1, scale[:, None])
        ranges[read] = float((low / scale).min()), float((high / scale).max())
    return ranges


def _over_taps(magnitudes: Matrix, taps: int) -> Matrix:
    """Return the greatest of what each channel is in all of its copies, ``float32[channels]``."""
    return np.asarray(magnitudes.reshape(taps, -1).max(axis=0))


def _positive(magnitudes: Matrix) -> Matrix:
    """Return magnitudes of which none is next to nothing beside the others."""
    return np.maximum(magnitudes, max(1e-3 * float(magnitudes.max()), float(np.finfo(np.float32).tiny)))


def _norms(graph: onnx.GraphProto, products: Collection[str]) -> dict[str, onnx.NodeProto]:
    """Return the layer norms that nothing but these products reads, by the value they read, with or without a mask."""
    found = {}
    for norm in [node for node in graph.node if node.op_type == "LayerNormalization"]:
        (value,) = norm.output
        users = readers(graph, value)
        if [node.op_type for node in users] == ["Mul"]:  # the mask
            (value,) = users[0].output
            users = readers(graph, value)
        if {node.name for node in users} <= set(products):
            found[value] = norm
    return found


def _projection(
    graph: onnx.GraphProto, tensors: dict[str, onnx.TensorProto], value: str
) -> list[tuple[onnx.NodeProto, tuple[int, ...]]]:
    """Return the product and the bias of the values that attention mixes to what a product reads, with their places.

    Nothing else may read what is between. Attention weighs the values of each channel alike, so that a channel's scale
    passes through it.
    """
    made_by = producers(graph)
    mixed = traced_back(made_by, value, "Reshape", "Transpose")
    if mixed is None or mixed not in made_by or made_by[mixed].op_type != "MatMul":
        return []
    projected = traced_back(made_by, made_by[mixed].input[1], "Transpose", "Reshape")
    bias = made_by.get(projected or "")
    if bias is None or bias.op_type != "Add" or len(readers(graph, bias.output[0])) != 1:
        return []
    found: list[tuple[onnx.NodeProto, tuple[int, ...]]] = []
    for node, name in ((made_by.get(bias.input[0]), bias.input[1]), (made_by.get(bias.input[1]), bias.input[0])):
        if node is not None and node.op_type == "MatMul" and {node.input[1], name} <= tensors.keys():
            found += [(node, (1,)), (bias, (list(bias.input).index(name),))]
    return found


def _divide(graph: onnx.GraphProto, value: str, users: Sequence[onnx.NodeProto], scale: Matrix) -> str:
    """Let these nodes read a value divided by ``float32[channels]``; returns its name."""
    inverse, divided = (f"{value}_{what}" for what in ("inverse", "alike"))
    graph.initializer.append(numpy_helper.from_array(1 / scale, inverse))
    place = min(list(graph.node).index(node) for node in users)
    graph.node.insert(place, helper.make_node("Mul", [value, inverse], [divided], name=f"{divided}_node"))
    for node in users:
        node.input[0] = divided
    return divided


def _scale(
    graph: onnx.GraphProto, tensors: dict[str, onnx.TensorProto], node: onnx.NodeProto, place: int, factors: Matrix
) -> None:
    """Give one node a scaled copy of its constant; others may share the original."""
    values = numpy_helper.to_array(tensors[node.input[place]]) * factors
    copy = numpy_helper.from_array(values.astype(np.float32), f"{node.input[place]}_of_{node.name}")
    graph.initializer.append(copy)
    tensors[copy.name] = copy
    original, node.input[place] = node.input[place], copy.name
    if not readers(graph, original):
        graph.initializer.remove(tensors[original])
