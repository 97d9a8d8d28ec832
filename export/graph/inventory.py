"""What a graph is made of: operators, where they come from, and in which type its products are computed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from export.graph.flops import node_flops
from export.graph.quantise import front_end

STANDARD = ("", "ai.onnx")
INTEGER = ("MatMulInteger", "ConvInteger")
PRECISIONS = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}
TRACE = b'File "'
"""With this begins what an exporter notes of the code that made a node."""


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
            opset=next(opset.version for opset in model.opset_import if opset.domain in STANDARD),
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


def count_traces(folder: Path) -> int:
    """Return the lines of stack traces in the graphs of a bundle, which tell of the machine that built them."""
    return sum(path.read_bytes().count(TRACE) for path in sorted(folder.glob("*.onnx")))


def _precisions(model: onnx.ModelProto) -> dict[str, str]:
    """Return for the output of every node in which precision the node computes, were it a product."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.input)}
    types |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    dequantised = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return {
        node.output[0]: "int8"
        if node.op_type in INTEGER or dequantised.issuperset(node.input[:2])
        else PRECISIONS.get(types.get(node.input[0], TensorProto.UNDEFINED), "another")
        for node in model.graph.node
        if node.input
    }
