"""What TensorRT's ONNX parser takes: opsets, and operators with the types of their data.

Source: ``docs/operators.md`` of onnx/onnx-tensorrt for TensorRT 10.15. Operators and types that speech encoders have no
use for are left out, and so are all that the table marks as unsupported.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

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


def unsupported(model: onnx.ModelProto) -> list[str]:
    """Return why TensorRT would not take all of a graph, one reason for each node; empty when it would."""
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    reasons = [f"opset {opsets.get('')}"] if opsets.get("") not in OPSETS else []
    return [*reasons, *_unsupported_nodes(model)]


def _unsupported_nodes(model: onnx.ModelProto) -> Iterator[str]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    types: dict[str, int] = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
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
