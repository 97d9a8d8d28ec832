"""Integers of seven bits in an ONNX graph, eight in seven bytes, unpacked once, when onnxruntime loads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper


def pack_seven_bits(
    values: npt.NDArray[np.int8], name: str
) -> tuple[dict[str, npt.NDArray[Any]], list[onnx.NodeProto]]:
    """Pack integers of -64 to 63, eight in seven bytes.

    Args:
        values: ``int8[out, in, ...]``, ``in`` a multiple of eight.
        name: of the value that the nodes unpack, ``int8`` of the same shape.

    Returns:
        Constants by name, and the nodes. Seven eighths of the values lie in the low bits of ``uint8[7, out, in / 8,
        ...]``, the others in the high bits.
    """
    eighths = np.stack(np.split((values.astype(np.int16) + 64).astype(np.uint8), 8, axis=1))
    bits = np.arange(7, dtype=np.uint8).reshape(-1, *[1] * values.ndim)
    rest: dict[str, npt.NDArray[Any]] = {
        "packed": eighths[:7] | ((eighths[7] >> bits) & 1) << 7,
        "one": np.array(1, np.uint8), "seven": np.array(7, np.uint8), "middle": np.array(64, np.int32),
        "places": (1 << bits.astype(np.int32)), "axis": np.array([0], np.int64),
        "shape": np.array(values.shape, np.int64),
    }  # fmt: skip
    made = {what: f"{name}_{what}" for what in rest}
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("BitShift", [made["packed"], made["one"]], "left", {"direction": "LEFT"}),
        ("BitShift", [f"{name}_left", made["one"]], "low", {"direction": "RIGHT"}),
        ("BitShift", [made["packed"], made["seven"]], "high", {"direction": "RIGHT"}),
        ("Cast", [f"{name}_low"], "low_int", {"to": TensorProto.INT32}),
        ("Cast", [f"{name}_high"], "high_int", {"to": TensorProto.INT32}),
        ("Mul", [f"{name}_high_int", made["places"]], "placed", {}),
        ("ReduceSum", [f"{name}_placed", made["axis"]], "last", {"keepdims": 1}),
        ("Concat", [f"{name}_low_int", f"{name}_last"], "eighths", {"axis": 0}),
        ("Sub", [f"{name}_eighths", made["middle"]], "signed", {}),
        ("Transpose", [f"{name}_signed"], "beside", {"perm": [1, 0, *range(2, values.ndim + 1)]}),
        ("Reshape", [f"{name}_beside", made["shape"]], "whole", {}),
        ("Cast", [f"{name}_whole"], "", {"to": TensorProto.INT8}),
    ]
    return {made[what]: value for what, value in rest.items()}, [
        helper.make_node(operator, inputs, [f"{name}_{output}" if output else name], **options)
        for operator, inputs, output, options in steps
    ]
