"""A bundle small enough to build inside a test: its encoder measures loudness, so its answers can be predicted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import ENCODER_NAME, HEAD_NAME, MANIFEST_NAME, sha256_of
from edge.head import Head

LABELS = ("neutral", "happy", "angry")
BUCKETS_S = (1.0, 2.0, 4.0)


def tiny_bundle(folder: Path) -> Path:
    """Write a bundle whose embedding is (mean |x|, mean x², 1): quiet is neutral, medium happy, loud angry."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(tiny_encoder(), folder / ENCODER_NAME)
    weight = np.array([[0, 0, 0], [100, 0, 0], [200, 0, 0]], np.float32)
    Head(weight, np.array([0, -2, -12], np.float32), temperature=1.0).save(folder / HEAD_NAME)
    write_manifest(folder)
    return folder


def write_manifest(folder: Path, **changes: object) -> None:
    """Write ``bundle.json`` for the files in the folder; keyword arguments replace top-level fields."""
    files = {
        name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
        for name in (ENCODER_NAME, HEAD_NAME)
    }
    manifest: dict[str, object] = {
        "schema_version": 1,
        "name": "tiny",
        "version": "0",
        "labels": LABELS,
        "sample_rate_hz": 16_000,
        "buckets_s": BUCKETS_S,
        "encoder": {"architecture": "loudness", "precision": "fp32", "opset": 17, "embedding_dim": 3, "max_s": 4.0},
        "corpora": [],
        "metrics": {},
        "files": files,
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest | changes))


def tiny_encoder() -> onnx.ModelProto:
    """Return the masked loudness graph: waveform, lengths -> embedding ``float32[batch, 3]``."""
    constants = {
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "columns": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["waveform"], ["samples"], start=1, end=2),
        helper.make_node("Squeeze", ["samples"], ["samples_scalar"]),
        helper.make_node("Range", ["zero", "samples_scalar", "one"], ["positions"]),
        helper.make_node("Unsqueeze", ["lengths", "columns"], ["ends"]),
        helper.make_node("Less", ["positions", "ends"], ["inside"]),
        helper.make_node("Cast", ["inside"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["waveform", "mask"], ["masked"]),
        helper.make_node("Cast", ["ends"], ["counts"], to=TensorProto.FLOAT),
        helper.make_node("Abs", ["masked"], ["magnitude"]),
        helper.make_node("ReduceSum", ["magnitude", "columns"], ["magnitude_sum"], keepdims=1),
        helper.make_node("Div", ["magnitude_sum", "counts"], ["mean_magnitude"]),
        helper.make_node("Mul", ["masked", "masked"], ["power"]),
        helper.make_node("ReduceSum", ["power", "columns"], ["power_sum"], keepdims=1),
        helper.make_node("Div", ["power_sum", "counts"], ["mean_power"]),
        helper.make_node("Div", ["counts", "counts"], ["constant"]),
        helper.make_node("Concat", ["mean_magnitude", "mean_power", "constant"], ["embedding"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "loudness",
        [
            helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
