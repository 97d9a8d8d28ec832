"""A convolution over time as a product reads shifted copies of its input; int8 copies are a quarter of float ones."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from export.graph.nodes import producers, readers


@dataclass(frozen=True)
class Copies:
    """What makes the copies: one padding, a slice for each tap, and what puts them side by side."""

    pad: onnx.NodeProto
    slices: list[onnx.NodeProto]
    concat: onnx.NodeProto


def copied_over_time(graph: onnx.GraphProto, value: str) -> Copies | None:
    """Return what makes a value out of copies of another one that nothing else reads; None where there are none."""
    made_by = producers(graph)
    concat = made_by.get(value)
    if concat is None or concat.op_type != "Concat":
        return None
    slices = [made_by[name] for name in concat.input if name in made_by]
    padded = {node.input[0] for node in slices if node.op_type == "Slice"}
    if len(slices) != len(concat.input) or len(padded) != 1 or {node.op_type for node in slices} != {"Slice"}:
        return None
    pad = made_by.get(padded.pop())
    if pad is None or pad.op_type != "Pad" or len(readers(graph, pad.output[0])) != len(slices):
        return None
    return Copies(pad, slices, concat)


def quantise_before_copies(graph: onnx.GraphProto) -> None:
    """Quantise what is copied and not its copies, in place; padding is then what stands for zero.

    The result is the same to the bit.
    """
    for node in [node for node in graph.node if node.op_type == "QuantizeLinear"]:
        value, _, zero = node.input
        copied = copied_over_time(graph, value)
        if copied is None or len(copied.pad.input) > 2 or len(readers(graph, value)) != 1:
            continue
        (quantised,) = node.output
        node.input[0], node.output[0] = copied.pad.input[0], f"{quantised}_once"
        copied.pad.input[:] = [node.output[0], copied.pad.input[1], zero]
        copied.concat.output[0] = quantised
        graph.node.remove(node)
        graph.node.insert(list(graph.node).index(copied.pad), node)
