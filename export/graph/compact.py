"""Making a graph's file small without changing what it computes: no unused nodes, constants once, short names."""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper

CONV_DEFAULTS = {"dilations": 1, "group": 1, "pads": 0, "strides": 1}


def compact(graph: onnx.GraphProto) -> None:
    """Drop what no output needs, share equal constants and shorten the names of inner values, in place."""
    lift_constants(graph)
    drop_unused(graph)
    share_constants(graph)
    shorten_names(graph)
    drop_defaults(graph)
    del graph.value_info[:]


def lift_constants(graph: onnx.GraphProto) -> None:
    """Turn Constant nodes that hold a tensor into initialisers."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = helper.get_attribute_value(node.attribute[0])
        if isinstance(value, onnx.TensorProto):
            graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value), node.output[0]))
            graph.node.remove(node)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Drop nodes and initialisers that no output depends on."""
    needed = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):
        if needed.intersection(node.output):
            needed.update(node.input)
        else:
            graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in needed]:
        graph.initializer.remove(tensor)


def share_constants(graph: onnx.GraphProto) -> None:
    """Keep one of initialisers that are equal."""
    kept: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    renamed = {}
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        same = kept.setdefault((tensor.data_type, tuple(tensor.dims), values.tobytes()), tensor.name)
        if same != tensor.name:
            renamed[tensor.name] = same
            graph.initializer.remove(tensor)
    _rename(graph, renamed)


def shorten_names(graph: onnx.GraphProto) -> None:
    """Number inner values and initialisers in hexadecimal, and leave nodes unnamed; the ends keep their names."""
    ends = {value.name for value in (*graph.input, *graph.output)}
    inner = [tensor.name for tensor in graph.initializer]
    inner += [name for node in graph.node for name in node.output if name and name not in ends]
    names = {name: f"v{number:x}" for number, name in enumerate(dict.fromkeys(inner))}
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        node.name, node.doc_string = "", ""
        node.output[:] = [names.get(name, name) for name in node.output]
    _rename(graph, names)


def drop_defaults(graph: onnx.GraphProto) -> None:
    """Drop attributes of convolutions that say what holds without them."""
    for node in [node for node in graph.node if node.op_type == "Conv"]:
        for attribute in list(node.attribute):
            values = set(attribute.ints) if attribute.ints else {attribute.i}
            if attribute.name == "kernel_shape" or values == {CONV_DEFAULTS.get(attribute.name)}:
                node.attribute.remove(attribute)


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
