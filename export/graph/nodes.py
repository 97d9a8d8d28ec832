"""Reading an ONNX graph: which nodes depend on which, the types of values, and values between the nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx
import onnxruntime

STANDARD = ("", "ai.onnx")


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the ONNX standard's operators; 0 where the model names none."""
    return next((opset.version for opset in model.opset_import if opset.domain in STANDARD), 0)


def following(nodes: Sequence[onnx.NodeProto], values: set[str]) -> set[int]:
    """Return the positions of the nodes that depend on one of the values; nodes are in the order of computing."""
    reached, found = set(values), set()
    for index, node in enumerate(nodes):
        if reached.intersection(node.input):
            found.add(index)
            reached.update(node.output)
    return found


def leading(nodes: Sequence[onnx.NodeProto], chosen: Callable[[int], bool]) -> set[int]:
    """Return the positions of the chosen nodes and of all that they depend on."""
    needed: set[str] = set()
    found = set()
    for index in reversed(range(len(nodes))):
        if chosen(index) or needed.intersection(nodes[index].output):
            found.add(index)
            needed.update(nodes[index].input)
    return found


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Return the node that puts out each value."""
    return {name: node for node in graph.node for name in node.output if name}


def readers(graph: onnx.GraphProto, value: str) -> list[onnx.NodeProto]:
    """Return the nodes that a value goes into, in the order of computing."""
    return [node for node in graph.node if value in node.input]


def traced_back(made_by: Mapping[str, onnx.NodeProto], value: str, *operators: str) -> str | None:
    """Return what went into the last of a chain of operators that ends with a value; None where others made it.

    The chain is given backwards; of each node the first input is followed.
    """
    for operator in operators:
        node = made_by.get(value)
        if node is None or node.op_type != operator:
            return None
        value = node.input[0]
    return value


def front_end(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that a logarithm depends on: Fourier transform and mel filters, whose values span 80 dB."""
    nodes = list(graph.node)
    return [nodes[index] for index in sorted(leading(nodes, lambda index: nodes[index].op_type == "Log"))]


def value_types(model: onnx.ModelProto, strict: bool = True) -> dict[str, int]:
    """Return the element type of every value by name, as ``onnx.TensorProto`` numbers them.

    Unless ``strict``, values behind an operator that onnx does not know are left out.
    """
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=strict).graph
    types: dict[str, int] = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def inner_session(model: onnx.ModelProto, names: Sequence[str]) -> onnxruntime.InferenceSession:
    """Return a session of a copy of a model that puts out inner values, on one thread.

    More threads would sum in another order, and the same run give other bytes.
    """
    opened = onnx.ModelProto.FromString(model.SerializeToString())
    del opened.graph.output[:]
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
