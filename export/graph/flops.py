"""Floating-point operations of a graph: those of its convolutions and matrix products, a multiply-add being two.

int8 products count like float ones, so that a share of the float32 peak compares precisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

PRODUCTS = ("MatMul", "MatMulInteger", "Gemm")
CONVOLUTIONS = ("Conv", "ConvInteger")

Shape = tuple[int, ...]


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


def module_flops(model: PreTrainedModel, inputs: torch.Tensor) -> int:
    """Return the operations of a torch model for these inputs."""
    # Fused attention has no count; written out it is the same products.
    fused = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(inputs)
    model.set_attn_implementation(fused)
    return int(counter.get_total_flops())


def _shapes(model: onnx.ModelProto, names: set[str], feed: Mapping[str, Any]) -> dict[str, Shape]:
    known: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    known |= {name: array.shape for name, array in feed.items()}
    wanted = sorted(names - set(known))
    if not wanted:
        return known
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {node.name for node in session.get_inputs()}
    arrays = session.run(wanted, {name: array for name, array in feed.items() if name in inputs})
    return known | {name: array.shape for name, array in zip(wanted, arrays, strict=True)}


def _node_flops(node: onnx.NodeProto, left: Shape, right: Shape, output: Shape) -> int:
    if node.op_type in CONVOLUTIONS:
        return 2 * prod(output) * prod(right[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return 2 * prod(output) * left[-2 if transposed else -1]
