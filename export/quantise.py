"""Making the graph small: int8 matrix products for the CPU, half-precision storage for what stays in float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from export.graph import PRODUCER, quiet_libraries

HALF_MINIMUM = 100_000
"""Smaller tensors are not worth a cast."""


def quantise_int8(source: Path, target: Path) -> None:
    """Write the int8 form of a float graph.

    Matrix products with constant weights become int8: weights per output channel and symmetric, activations per tensor
    and measured at run time. Convolutions stay in float, since their dynamic form is slower and costs accuracy.
    """
    with quiet_libraries():
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    model = onnx.load(target)
    model.producer_name, model.producer_version = PRODUCER, onnx.load(source).producer_version
    store_half(model)
    onnx.checker.check_model(model)
    onnx.save(model, target)


def store_half(model: onnx.ModelProto) -> None:
    """Store large float tensors as float16 behind a cast, in place.

    onnxruntime folds the cast when it loads the graph, so the arithmetic stays float32. The Fourier basis of the front
    end keeps its precision: it must resolve 80 dB.
    """
    graph = model.graph
    spectral = {
        node.input[1]
        for node in graph.node
        if node.op_type == "Conv" and _strides(node) > 2  # the hop of the frames
    }
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


def _strides(node: onnx.NodeProto) -> int:
    return next((max(attribute.ints) for attribute in node.attribute if attribute.name == "strides"), 1)
