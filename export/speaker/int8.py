"""Published speaker encoders in int8: convolutions with ranges that speech sets beforehand, one scale a channel.

onnxruntime runs a convolution between a DequantizeLinear and a QuantizeLinear in integers (QLinearConv). Its weights
have a scale for each output channel, are symmetric and rounded together (``rounding``), its activations have one scale
for the whole value. Static ranges, unlike
measured ones, depend on nothing but the utterance. What is constant is stored small and unfolded when onnxruntime loads
the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.arrays import Doubles, Matrix
from edge.errors import ModelError
from export.graph.nodes import inner_session
from export.speaker.packing import pack_seven_bits
from export.speaker.rounding import input_moments, round_rows

LARGE = 20_000
"""Layers of so many weights are stored in seven bits, since a bundle may have 20 MB."""
Extremes = tuple[Matrix, Matrix]
"""Least and greatest value of every channel, ``float32[channels]``."""

CLIPPED = np.linspace(0.25, 1.0, 16)
"""Shares of a row's greatest weight that its range is tried with."""


def quantise_convolutions(model: onnx.ModelProto, features: Sequence[Matrix]) -> None:
    """Make the convolutions of ``float32[1, frames, 80]`` -> embedding int8, in place.

    The first stays in float: its input is the log mel spectrum itself, and it costs nothing. The scale of a batch
    normalisation before pointwise convolutions is moved so that channels are alike in range.

    Args:
        model: float, with constant weights.
        features: of utterances that set the ranges, each ``float32[1, frames, 80]``.

    Raises:
        ModelError: there is no convolution behind the first.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv" and node.input[1] in weights][1:]
    if not convolutions:
        raise ModelError("the speaker encoder has no convolutions that int8 could have")
    outputs = {node.output[0]: _end(graph, node) for node in convolutions}
    values = sorted({node.input[0] for node in convolutions} | set(outputs.values()))
    extremes = channel_extremes(model, values, features)
    equalise_normalised(graph, convolutions, extremes)
    quantised = {node.output[0] for node in convolutions}
    moments = input_moments(model, convolutions, features)
    for node in convolutions:
        _quantise_weights(graph, node, extremes[node.input[0]], moments.get(node.output[0]))
    for value in values:
        _quantise_value(graph, value, extremes[value], None if value in outputs.values() else quantised)


def channel_extremes(model: onnx.ModelProto, names: Sequence[str], features: Sequence[Matrix]) -> dict[str, Extremes]:
    """Return the extremes of inner values ``float32[1, channels, ...]`` over utterances."""
    session = inner_session(model, names)
    (source,) = session.get_inputs()
    found: dict[str, Extremes] = {}
    for utterance in features:
        for name, value in zip(names, session.run(names, {source.name: utterance}), strict=True):
            channels = value[0].reshape(value.shape[1], -1)
            low, high = found.get(name, (np.float32(0), np.float32(0)))
            found[name] = np.minimum(low, channels.min(axis=1)), np.maximum(high, channels.max(axis=1))
    return found


def equalise_normalised(
    graph: onnx.GraphProto, convolutions: Sequence[onnx.NodeProto], extremes: dict[str, Extremes]
) -> None:
    """Make channels between a normalisation and the one convolution that reads it alike in range.

    The factors (Xiao et al. 2023, equation 4) go into the normalisation, which becomes a product and a sum with
    float16 constants; the graph computes the same. ``extremes`` of these values follow.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    producers = {node.output[0]: node for node in graph.node}
    for node in convolutions:
        relu = producers.get(node.input[0])
        norm = producers.get(relu.input[0]) if relu is not None and relu.op_type == "Relu" else None
        if norm is None or norm.op_type != "BatchNormalization" or len(_users(graph, node.input[0])) != 1:
            continue
        low, high = extremes[node.input[0]]
        weight = numpy_helper.to_array(tensors[node.input[1]])
        spatial = [1] * (weight.ndim - 2)
        needed = np.abs(weight).reshape(*weight.shape[:2], -1).max(axis=(0, 2))
        factors = np.sqrt(_positive(np.maximum(-low, high)) / _positive(needed))
        values = (weight * factors.reshape(1, -1, *spatial)).astype(np.float32)
        tensors[node.input[1]].CopyFrom(numpy_helper.from_array(values, node.input[1]))
        extremes[node.input[0]] = low / factors, high / factors
        scale, offset, mean, variance = (numpy_helper.to_array(tensors[name]) for name in norm.input[1:])
        (epsilon,) = [attribute.f for attribute in norm.attribute if attribute.name == "epsilon"] or [1e-5]
        merged = scale / np.sqrt(variance + epsilon)
        _product_and_sum(graph, norm, merged / factors, (offset - mean * merged) / factors, [-1, *spatial])


def _product_and_sum(
    graph: onnx.GraphProto, norm: onnx.NodeProto, scale: Matrix, offset: Matrix, shape: list[int]
) -> None:
    """Replace a normalisation."""
    at, (output,) = list(graph.node).index(norm), norm.output
    scaled, names = f"{output}_scaled", [f"{output}_{what}" for what in ("scale", "offset")]
    nodes = [
        helper.make_node("Mul", [norm.input[0], names[0]], [scaled]),
        helper.make_node("Add", [scaled, names[1]], [output]),
    ]
    for name, values in zip(names, (scale, offset), strict=True):
        graph.initializer.append(numpy_helper.from_array(values.reshape(shape).astype(np.float16), f"{name}_half"))
        nodes.insert(0, helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    graph.node.remove(norm)
    for node in reversed(nodes):
        graph.node.insert(at, node)


def _positive(magnitudes: Matrix) -> Matrix:
    return np.maximum(magnitudes, max(1e-2 * float(magnitudes.max()), float(np.finfo(np.float32).tiny)))


def _end(graph: onnx.GraphProto, node: onnx.NodeProto) -> str:
    """Return the output of a convolution, or of the Relu that alone follows it."""
    users = _users(graph, node.output[0])
    return str((users[0] if [user.op_type for user in users] == ["Relu"] else node).output[0])


def _users(graph: onnx.GraphProto, value: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if value in node.input]


def _step_and_zero(extremes: Extremes) -> tuple[np.float32, np.uint8]:
    low, high = float(extremes[0].min()), float(extremes[1].max())
    step = np.float32(max(high - low, float(np.finfo(np.float32).tiny)) / 255)
    return step, np.uint8(round(-low / float(step)))


def _quantise_weights(
    graph: onnx.GraphProto, node: onnx.NodeProto, extremes: Extremes, moments: Doubles | None
) -> None:
    """Replace a convolution's weights and bias by int8, stored in 7 or 8 bits, and int32 behind a DequantizeLinear."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weight = numpy_helper.to_array(tensors[node.input[1]])
    packed = weight.size >= LARGE and weight.shape[1] % 8 == 0
    rows, most = weight.reshape(len(weight), -1), 63 if packed else 127
    scale = _truest_scale(rows, most)
    rounded = round_rows(rows, scale, most, moments).reshape(weight.shape)
    stem = f"{node.output[0]}_filters"
    constants: dict[str, npt.NDArray[Any]] = {
        f"{stem}_half": scale.astype(np.float16), f"{stem}_zero": np.zeros(len(scale), np.int8)
    }  # fmt: skip
    names = [f"{stem}_int8", f"{stem}_scale", f"{stem}_zero"]
    nodes = [
        helper.make_node("Cast", [f"{stem}_half"], [f"{stem}_scale"], to=TensorProto.FLOAT),
        helper.make_node("DequantizeLinear", names, [f"{stem}_weight"], axis=0),
    ]
    if packed:
        values, unpacking = pack_seven_bits(rounded, f"{stem}_int8")
        constants |= values
        nodes = [*unpacking, *nodes]
    else:
        constants[f"{stem}_int8"] = rounded
    if len(node.input) > 2:
        step, _ = _step_and_zero(extremes)
        bias = np.rint(numpy_helper.to_array(tensors[node.input[2]]).astype(np.float64) / (scale * step))
        constants |= {f"{stem}_int32": bias.astype(np.int32), f"{stem}_origin": np.zeros(len(scale), np.int32)}
        nodes.append(helper.make_node("Mul", [f"{stem}_scale", f"{node.input[0]}_step"], [f"{stem}_finer"]))
        names = [f"{stem}_int32", f"{stem}_finer", f"{stem}_origin"]
        nodes.append(helper.make_node("DequantizeLinear", names, [f"{stem}_bias"], axis=0))
        node.input[2] = f"{stem}_bias"
    node.input[1] = f"{stem}_weight"
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    at = list(graph.node).index(node)
    for made in reversed(nodes):
        graph.node.insert(at, made)


def _truest_scale(rows: Matrix, most: int) -> Matrix:
    """Return each row's scale that rounds it with the least square error, ``float32[rows]`` that float16 holds."""
    greatest = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny)
    scales = greatest[None, :] / most * CLIPPED[:, None]
    errors = [
        np.square(np.clip(np.rint(rows / scale[:, None]), -most, most) * scale[:, None] - rows).sum(axis=1)
        for scale in scales
    ]
    best = np.argmin(errors, axis=0)
    return np.asarray(scales[best, np.arange(len(rows))].astype(np.float16), np.float32)


def _quantise_value(graph: onnx.GraphProto, value: str, extremes: Extremes, readers: set[str] | None) -> None:
    """Let the nodes with these outputs, or all, read a value rounded to uint8."""
    step, zero = _step_and_zero(extremes)
    scale, offset, rounded, read = (f"{value}_{what}" for what in ("step", "zero", "uint8", "rounded"))
    graph.initializer.extend(
        [numpy_helper.from_array(np.array(step), scale), numpy_helper.from_array(np.array(zero), offset)]
    )
    users = [node for node in _users(graph, value) if readers is None or node.output[0] in readers]
    at = min(list(graph.node).index(node) for node in users)
    for node in users:
        node.input[:] = [read if name == value else name for name in node.input]
    graph.node.insert(at, helper.make_node("DequantizeLinear", [rounded, scale, offset], [read]))
    graph.node.insert(at, helper.make_node("QuantizeLinear", [value, scale, offset], [rounded]))
