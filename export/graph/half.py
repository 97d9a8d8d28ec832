"""The half-precision graph for CUDA and TensorRT: float16 from the first learned weights to the pooling.

The front end stays in float32, since it must resolve 80 dB; so do lengths, which exceed float16's 65,504, the pooling,
whose sums do too, and the little that follows it. Inputs and output are float32, so the device runs it like any other
encoder. Each value's type is in the graph, and onnxruntime and TensorRT (strongly typed) keep to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from export.graph.nodes import following, leading, value_types

LARGEST = float(np.finfo(np.float16).max)
LOWEST_MASK = -3e4
"""Added to a score it is as good as minus infinity, and float16 holds the sum. Some libraries mask with far less."""

_LEARNED = {"Conv", "ConvTranspose", "Gemm", "GRU", "LSTM", "MatMul"}
_NONLINEAR = {"Elu", "Erf", "Gelu", "LayerNormalization", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Softmax", "Tanh"}
_ACROSS_TIME = {"Conv", "ConvTranspose", "GRU", "LSTM", "Softmax"}
_SUMS = {"GlobalAveragePool", "Pow", "ReduceL1", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare"}
_NEVER_HALF = {"CumSum", "If", "Loop", "Range", "Resize", "Scan"}
"""Without float16 in some provider, or with a graph inside."""


def to_half(source: Path, target: Path) -> None:
    """Write the half-precision form of a float graph.

    Raises:
        ModelError: a weight exceeds what float16 holds, or there are no learned layers.
    """
    model = onnx.load(source)
    half = half_nodes(model.graph)
    if not half:
        raise ModelError(f"{source}: has no learned layers to put into half precision")
    _raise_masks(model.graph)
    _convert(model, half)
    _replace_integer_clips(model)
    _drop_unused(model.graph)
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


def half_nodes(graph: onnx.GraphProto) -> set[int]:
    """Return the positions of the nodes that compute in float16.

    The front end is what leads to a logarithm that no non-linearity precedes, whether it consists of
    convolutions or of products. The pooling is the sums from which neither attention nor a convolution follows; sums
    are also products of the body with weights from elsewhere, as with a mask of time.
    """
    nodes = list(graph.node)
    varying = {value.name for value in graph.input} | {
        name for index in following(nodes, {value.name for value in graph.input}) for name in nodes[index].output
    }
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    constant = weights | {name for node in nodes for name in node.output} - varying
    nonlinear = following(nodes, _outputs_of(nodes, lambda node: node.op_type in _NONLINEAR))
    front = leading(nodes, lambda index: nodes[index].op_type == "Log" and index not in nonlinear)
    learned = {
        index
        for index, node in enumerate(nodes)
        if node.op_type in _LEARNED and index not in front and constant.intersection(node.input)
    }
    body = learned | following(nodes, {name for index in learned for name in nodes[index].output})
    goes_on = leading(nodes, lambda index: nodes[index].op_type in _ACROSS_TIME)
    inside = {name for index in body for name in nodes[index].output}
    sums = {
        index
        for index in body
        if nodes[index].op_type in _SUMS
        or (nodes[index].op_type == "MatMul" and [name in inside for name in nodes[index].input] == [False, True])
    }
    after = following(nodes, {name for index in sums - goes_on for name in nodes[index].output})
    return {index for index in body - front - sums - after if nodes[index].op_type not in _NEVER_HALF}


def _outputs_of(nodes: Sequence[onnx.NodeProto], chosen: Callable[[onnx.NodeProto], bool]) -> set[str]:
    """Return the values that the chosen nodes put out."""
    return {name for node in nodes if chosen(node) for name in node.output}


def _raise_masks(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims, dtype=int) == 1:
            values = np.maximum(numpy_helper.to_array(tensor), np.float32(LOWEST_MASK))
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _convert(model: onnx.ModelProto, half: set[int]) -> None:
    """Change the types of the chosen nodes; each value that enters or leaves them is cast once."""
    graph = model.graph
    types = value_types(model)
    floats = {name for name, kind in types.items() if kind == TensorProto.FLOAT}
    halves = {name for index in half for name in graph.node[index].output if name in floats}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    crossed: set[str] = set()
    nodes: list[onnx.NodeProto] = []

    def cast(name: str, kind: int) -> str:
        other = f"{name}_half" if kind == TensorProto.FLOAT16 else f"{name}_float"
        if other not in crossed:
            crossed.add(other)
            if name in weights:
                graph.initializer.append(_half(weights[name], other))
            else:
                nodes.append(helper.make_node("Cast", [name], [other], name=f"{other}_cast", to=kind))
        return other

    for index, node in enumerate(graph.node):
        if index in half:
            node.input[:] = [
                cast(name, TensorProto.FLOAT16) if name in floats - halves else name for name in node.input
            ]
            _retarget(node)
        else:
            node.input[:] = [cast(name, TensorProto.FLOAT) if name in halves else name for name in node.input]
        nodes.append(node)
    for name in [value.name for value in graph.output if value.name in halves]:
        for node in nodes:
            node.input[:] = [f"{name}_half" if each == name else each for each in node.input]
            node.output[:] = [f"{name}_half" if each == name else each for each in node.output]
        nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)


def _retarget(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16


def _half(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    largest = float(np.abs(values).max(initial=0))
    if not largest <= LARGEST:
        raise ModelError(f"{tensor.name}: holds {largest:.3g}, and half precision ends at {LARGEST:,.0f}")
    return numpy_helper.from_array(values.astype(np.float16), name)


def _replace_integer_clips(model: onnx.ModelProto) -> None:
    """Write limits of integers as maximum and minimum, since TensorRT clips only floats."""
    graph = model.graph
    types = value_types(model)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "Clip" or types[node.input[0]] == TensorProto.FLOAT:
            nodes.append(node)
            continue
        limits = [(kind, name) for kind, name in zip(("Max", "Min"), node.input[1:], strict=False) if name]
        value = node.input[0]
        for number, (kind, limit) in enumerate(limits, start=1):
            output = node.output[0] if number == len(limits) else f"{node.output[0]}_{kind}"
            nodes.append(helper.make_node(kind, [value, limit], [output], name=f"{node.name}_{kind}"))
            value = output
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_unused(graph: onnx.GraphProto) -> None:
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    used = {name for each in (graph, *inner) for node in each.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
