"""The graph of one bucket as TensorRT gets it, and what TensorRT's ONNX parser takes: opsets, operators and types.

Source of the list: ``docs/operators.md`` of onnx/onnx-tensorrt for TensorRT 10.15. Operators and types that speech
encoders have no use for are left out, and so are all that the table marks as unsupported.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxruntime
from onnx import TensorProto

from edge.encoder import session_options
from edge.settings import EncoderSettings
from edge.tensorrt import fix_shapes
from export.graph.nodes import opset_of, value_types

OPSETS = range(9, 25)
"""TensorRT 10.15; of the exporter's opset 20, only Gelu is newer than what TensorRT 8.6 took."""

FLOATS: frozenset[int] = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})
NUMBERS = FLOATS | {TensorProto.INT32, TensorProto.INT64}
ANYTHING = NUMBERS | {TensorProto.BOOL}

_TABLE: dict[str, frozenset[int]] = {
    "And Not Or Xor": frozenset({TensorProto.BOOL}),
    """
    AveragePool BatchNormalization Ceil Clip Conv ConvTranspose Cos CumSum Einsum Elu Erf Exp Floor GRU Gelu Gemm
    GlobalAveragePool GlobalMaxPool GroupNormalization HardSigmoid HardSwish InstanceNormalization IsInf LSTM
    LayerNormalization LeakyRelu Log LogSoftmax MatMul MaxPool PRelu Reciprocal Resize Round Sigmoid Sin Softmax
    Softplus Sqrt Tanh
    """: FLOATS,
    """
    Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean Min Mod Mul Neg
    Pad Pow Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu ScatterElements ScatterND Sign SpaceToDepth Sub Sum TopK
    """: NUMBERS,
    """
    Cast Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND Identity OneHot Reshape
    Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where
    """: ANYTHING,
}
OPERATORS = {name: types for names, types in _TABLE.items() for name in names.split()}
"""Operator to the types of its first input."""

CONSTANT_AXES = {"Squeeze", "Unsqueeze"} | {name for name in OPERATORS if name.startswith("Reduce")}
"""Their second input must be a constant."""


def bucket_graph(graph: Path, samples: int, batch: int = 1) -> onnx.ModelProto:
    """Return a graph with batch and samples fixed, and everything that follows from them computed.

    onnxruntime does this itself before it hands nodes to a provider; here the result is saved instead of run, with the
    types and shapes that inference finds. Where its CPU lacks float16 it adds casts, which a GPU does not see.
    """
    with tempfile.TemporaryDirectory(prefix="affectd-") as scratch:
        options = session_options(EncoderSettings())
        fix_shapes(options, samples, batch)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(scratch, "bucket.onnx"))
        onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def dynamic_values(model: onnx.ModelProto) -> list[str]:
    """Return the values whose shape is not a tuple of numbers."""
    return [value.name for value in values(model) if not _is_static(value)]


def values(model: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    """Yield inputs, outputs and what is in between."""
    yield from (*model.graph.input, *model.graph.value_info, *model.graph.output)


def _is_static(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    return tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)


def unsupported(model: onnx.ModelProto) -> list[str]:
    """Return why TensorRT would not take all of a graph, one reason for each node; empty when it would."""
    reasons = [] if opset_of(model) in OPSETS else [f"opset {opset_of(model)}"]
    return [*reasons, *_unsupported_nodes(model)]


def _unsupported_nodes(model: onnx.ModelProto) -> Iterator[str]:
    graph, types = model.graph, value_types(model, strict=False)
    constant = {tensor.name for tensor in graph.initializer}
    constant |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    for node in graph.node:
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        if operator not in OPERATORS:
            yield f"{operator} ({node.name})"
            continue
        strange = {types[name] for name in (*node.input, *node.output) if name} - ANYTHING
        strange |= {types[name] for name in node.input[:1] if name} - OPERATORS[operator]
        if strange:
            yield f"{operator} of {', '.join(sorted(map(TensorProto.DataType.Name, strange)))} ({node.name})"
        if operator in CONSTANT_AXES and len(node.input) > 1 and node.input[1] not in constant:
            yield f"{operator} over axes that are not constant ({node.name})"
