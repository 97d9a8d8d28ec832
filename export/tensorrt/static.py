"""The graph of one bucket: what TensorRT is given once the shapes are known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxruntime

from edge.encoder import session_options
from edge.settings import EncoderSettings
from edge.tensorrt import fix_shapes


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
