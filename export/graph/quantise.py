"""Making the graph small: int8 matrix products for the CPU, half-precision storage for what stays in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.onnx_model import ONNXModel

from edge.arrays import Matrix
from edge.audio import Waveform
from edge.buckets import Buckets, pad
from edge.errors import ModelError
from export.graph.copies import quantise_before_copies
from export.graph.encoder_graph import PRODUCER, quiet_libraries
from export.graph.equalise import Extremes, Range, equalise
from export.graph.nodes import front_end, inner_session
from export.graph.unmask import drop_masks

HALF_MINIMUM = 50_000
"""Smaller tensors are not worth a cast."""
COVERED = 0.99
"""Share of the utterances whose extremes an int8 range holds."""

Feed = dict[str, Any]
"""What one run takes: ``waveform float32[batch, samples]`` and ``lengths int64[batch]``."""


def calibration_feeds(waveforms: Sequence[Waveform], buckets: Buckets) -> list[Feed]:
    """Return each utterance padded to its bucket, as the device runs it."""
    return [
        {"waveform": pad([waveform], buckets.fit(len(waveform))), "lengths": np.array([len(waveform)], np.int64)}
        for waveform in waveforms
    ]


def quantise_int8(source: Path, target: Path, calibration: Sequence[Feed] = ()) -> None:
    """Write the int8 form of a float graph.

    Matrix products with constant weights become int8: weights per output channel and symmetric, activations per tensor.
    Convolutions stay in float, and so does the log-mel front end.

    Args:
        source: float graph.
        target: int8 graph.
        calibration: utterances whose activations set the ranges for good (static), after ``equalise``. Without, every
            run measures its own (dynamic), over all of its batch.

    Raises:
        ModelError: there is no product to quantise.
    """
    model = _prepared(source)
    products = _products(model.graph)
    if not products:
        raise ModelError(f"{source}: has no matrix product with constant weights that int8 could have")
    if calibration:
        inputs = sorted({node.input[0] for node in model.graph.node if node.name in products})
        extremes = activation_extremes(model, inputs, calibration)
        drop_masks(model.graph)
        ranges = equalise(model.graph, products, extremes)
    with quiet_libraries():
        quantize_dynamic(
            onnx.ModelProto.FromString(model.SerializeToString()),
            target,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=products,
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    quantised = onnx.load(target)
    if calibration:
        _freeze(quantised.graph, ranges)
        quantise_before_copies(quantised.graph)
    del quantised.graph.value_info[:]
    quantised.producer_name, quantised.producer_version = PRODUCER, model.producer_version
    store_half(quantised)
    onnx.checker.check_model(quantised)
    onnx.save(quantised, target)


def activation_extremes(model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Feed]) -> dict[str, Extremes]:
    """Return the extremes of inner values ``float32[batch, ..., channels]`` of a graph, each feed an utterance.

    They hold in 99 of 100 utterances; what is beyond them in the others is clipped. A range that held in all would
    round every one more.
    """
    session = inner_session(model, names)
    lows: dict[str, list[Matrix]] = {name: [] for name in names}
    highs: dict[str, list[Matrix]] = {name: [] for name in names}
    for feed in feeds:
        for name, value in zip(names, session.run(names, feed), strict=True):
            rows = value.reshape(-1, value.shape[-1])
            lows[name].append(rows.min(axis=0))
            highs[name].append(rows.max(axis=0))
    return {
        name: (
            np.minimum(np.quantile(lows[name], 1 - COVERED, axis=0), 0).astype(np.float32),
            np.maximum(np.quantile(highs[name], COVERED, axis=0), 0).astype(np.float32),
        )
        for name in names
    }


def store_half(model: onnx.ModelProto) -> None:
    """Store large float tensors as float16 behind a cast, in place.

    onnxruntime folds the cast when it loads the graph, so the arithmetic stays float32. The log-mel front end keeps its
    precision: it must resolve 80 dB.
    """
    graph = model.graph
    spectral = {name for node in front_end(graph) for name in node.input}
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or tensor.name in spectral:
            continue
        if np.prod(tensor.dims, dtype=int) < HALF_MINIMUM:
            continue
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}_half")
        cast = helper.make_node("Cast", [half.name], [tensor.name], name=f"{tensor.name}_cast", to=TensorProto.FLOAT)
        graph.initializer.remove(tensor)
        graph.initializer.append(half)
        graph.node.insert(0, cast)


def _prepared(source: Path) -> onnx.ModelProto:
    """Return the graph with a MatMul for every Gemm."""
    model = onnx.load(source)
    ONNXModel(model).replace_gemm_with_matmul()
    del model.graph.value_info[:]
    return model


def _products(graph: onnx.GraphProto) -> list[str]:
    weights = {tensor.name for tensor in graph.initializer}
    front = {node.name for node in front_end(graph)}
    return [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in weights and node.name not in front
    ]


def _freeze(graph: onnx.GraphProto, ranges: Mapping[str, Range]) -> None:
    """Replace the measuring of activations by constants, in place.

    A scale passes through a DequantizeLinear of one, since onnxruntime, which fuses a product with its bias only where
    the scale is computed, would fold a constant.
    """
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type != "DynamicQuantizeLinear":
            graph.node.append(node)
            continue
        (value,), (quantised, scale, zero) = node.input, node.output
        low, high = ranges[value]
        step = np.float32(max(high - low, float(np.finfo(np.float32).tiny)) / 255)
        constants = {f"{scale}_step": step, f"{scale}_one": np.int8(1), zero: np.uint8(round(-low / float(step)))}
        graph.initializer.extend(numpy_helper.from_array(np.array(array), name) for name, array in constants.items())
        graph.node.extend(
            [
                helper.make_node("QuantizeLinear", [value, f"{scale}_step", zero], [quantised], name=node.name),
                helper.make_node("DequantizeLinear", [f"{scale}_one", f"{scale}_step"], [scale], name=f"{scale}_node"),
            ]
        )
