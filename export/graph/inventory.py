"""What is in a graph: operators, where they come from, and in which type its convolutions and products are computed.

A multiply-add is two operations, and those of int8 products count like float ones, so that a share of the float32 peak
compares precisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from export.graph.nodes import STANDARD, front_end, inner_session, opset_of, value_types

INTEGER = ("MatMulInteger", "ConvInteger")
PRECISIONS: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}
PRODUCTS = ("MatMul", "MatMulInteger", "Gemm")
CONVOLUTIONS = ("Conv", "ConvInteger")
TRACE = b'File "'
"""With this begins what an exporter notes of the code that made a node."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Inventory:
    """The inventory of an encoder's graph."""

    opset: int
    operators: dict[str, int]
    """How many there are of each, the commonest first; those outside the ONNX standard as ``domain::name``."""
    flops: dict[str, int]
    """Operations of the convolutions and matrix products behind the front end for one waveform, by precision."""
    front_flops: int
    """Those of the log-mel front end, which is float32 in every precision."""

    @classmethod
    def of(cls, path: Path, samples: int) -> Inventory:
        """Count what is in an encoder; the operations are those for this many samples."""
        model = onnx.load(path)
        names = Counter(
            node.op_type if node.domain in STANDARD else f"{node.domain}::{node.op_type}" for node in model.graph.node
        )
        precision_of = _precisions(model)
        front = {name for node in front_end(model.graph) for name in node.output}
        flops: Counter[str] = Counter()
        front_flops = 0
        for node, count in node_flops(path, samples):
            if node.output[0] in front:
                front_flops += count
            else:
                flops[precision_of[node.output[0]]] += count
        return cls(
            opset=opset_of(model),
            operators=dict(names.most_common()),
            flops=dict(flops.most_common()),
            front_flops=front_flops,
        )

    @property
    def foreign(self) -> list[str]:
        """Operators outside the ONNX standard, which only one run time has."""
        return [name for name in self.operators if "::" in name]

    def share(self, precision: str) -> float:
        """Return the share of the operations behind the front end that are computed in a precision."""
        return self.flops.get(precision, 0) / max(1, sum(self.flops.values()))


def graph_flops(path: Path, samples: int) -> int:
    """Return the operations of an encoder for one waveform of this many samples."""
    return sum(flops for _, flops in node_flops(path, samples))


def node_flops(path: Path, samples: int) -> list[tuple[onnx.NodeProto, int]]:
    """Return the convolutions and matrix products of an encoder, each with its operations for one waveform.

    Shape inference leaves the attention's shapes open, since they are computed within the graph; so they are read
    from a run.
    """
    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.op_type in PRODUCTS + CONVOLUTIONS]
    feed = {"waveform": np.zeros((1, samples), np.float32), "lengths": np.array([samples], np.int64)}
    shapes = _shapes(model, {name for node in nodes for name in (*node.input[:2], node.output[0])}, feed)
    return [(node, _node_flops(node, *(shapes[name] for name in (*node.input[:2], node.output[0])))) for node in nodes]


def count_traces(folder: Path) -> int:
    """Return the lines of stack traces in the graphs of a bundle, which give paths of the machine away."""
    return sum(path.read_bytes().count(TRACE) for path in sorted(folder.glob("*.onnx")))


def _precisions(model: onnx.ModelProto) -> dict[str, str]:
    """Return for the output of every node in which precision the node computes, were it a product."""
    types = value_types(model, strict=False)
    dequantised = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return {
        node.output[0]: "int8"
        if node.op_type in INTEGER or dequantised.issuperset(node.input[:2])
        else PRECISIONS.get(types.get(node.input[0], TensorProto.UNDEFINED), "another")
        for node in model.graph.node
        if node.input
    }


def _shapes(model: onnx.ModelProto, names: set[str], feed: Mapping[str, Any]) -> dict[str, Shape]:
    known: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    known |= {name: array.shape for name, array in feed.items()}
    unknown = sorted(names - set(known))
    if not unknown:
        return known
    session = inner_session(model, unknown)
    inputs = {node.name for node in session.get_inputs()}
    arrays = session.run(unknown, {name: array for name, array in feed.items() if name in inputs})
    return known | {name: array.shape for name, array in zip(unknown, arrays, strict=True)}


def _node_flops(node: onnx.NodeProto, left: Shape, right: Shape, output: Shape) -> int:
    if node.op_type in CONVOLUTIONS:
        return 2 * prod(output) * prod(right[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return 2 * prod(output) * left[-2 if transposed else -1]
