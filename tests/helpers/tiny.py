"""A bundle small enough to build inside a test, whose answers can be predicted.

Its encoder measures loudness, its speaker encoder brightness: ``signals.deep``, plain and ``signals.bright`` voices are
three people.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import ENCODER_NAME, HEAD_NAME, MANIFEST_NAME, SPEAKER_NAME, sha256_of
from edge.head import Head
from edge.population import POPULATION_NAME, Population
from edge.values import ANNOTATED, DERIVED, Readout, ValueRecord

LABELS = ("neutral", "happy", "angry")
BUCKETS_S = (1.0, 2.0, 4.0)
SPEAKER = {
    "architecture": "brightness",
    "licence": "none",
    "voiceprint_dim": 2,
    "calibration": (-30.0, 40.0, 0.0, 0.0, 0.0, 0.0),
}


def tiny_bundle(folder: Path) -> Path:
    """Write a bundle whose embedding is (mean |x|, mean x², 1): quiet is neutral, medium happy, loud angry."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(tiny_encoder(), folder / ENCODER_NAME)
    onnx.save(tiny_speaker_encoder(), folder / SPEAKER_NAME)
    weight = np.array([[0, 0, 0], [100, 0, 0], [200, 0, 0]], np.float32)
    head = Head(weight, np.array([0, -2, -12], np.float32), temperature=1.0)
    head.save(folder / HEAD_NAME)
    tiny_population().save(folder / POPULATION_NAME)
    write_manifest(folder)
    return folder


VALUES: list[dict[str, object]] = [
    {"name": "arousal", "low": -1.0, "high": 1.0, "origin": DERIVED},
    {"name": "intensity", "low": 0.0, "high": 1.0, "origin": ANNOTATED},
]


def with_values(folder: Path) -> Path:
    """Give a tiny bundle two values, which grow with how loud a voice is: arousal -1 in silence, intensity 0."""
    records = tuple(ValueRecord.model_validate(value) for value in VALUES)
    weight = np.array([[4, 0, 0], [2, 0, 0]], np.float32)
    head = Head.load(folder / HEAD_NAME)
    replace(head, values=Readout(records, weight, np.array([-1, 0], np.float32))).save(folder / HEAD_NAME)
    write_manifest(folder, values=VALUES)
    return folder


def write_manifest(folder: Path, **changes: object) -> None:
    """Write ``bundle.json`` for the files in the folder; keyword arguments replace top-level fields."""
    files = {
        name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
        for name in (ENCODER_NAME, HEAD_NAME, POPULATION_NAME, SPEAKER_NAME)
    }
    manifest: dict[str, object] = {
        "schema_version": 1,
        "name": "tiny",
        "version": "0",
        "labels": LABELS,
        "sample_rate_hz": 16_000,
        "buckets_s": BUCKETS_S,
        "encoder": {"architecture": "loudness", "precision": "fp32", "opset": 17, "embedding_dim": 3, "max_s": 4.0},
        "speaker": SPEAKER,
        "corpora": [],
        "metrics": {},
        "files": files,
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest | changes))


def tiny_population() -> Population:
    """Return a population in which people differ by how loudly they speak, whatever they feel."""
    return Population(
        labels=LABELS,
        mean=np.array([0.06, 0.01, 1], np.float32),
        shifts=np.array([[-0.04, 0, 0], [0, 0, 0], [0.04, 0, 0]], np.float32),
        offsets=np.array([[0.02, 0, 0], [-0.02, 0, 0]], np.float32),
        label_shares=np.full((2, 3), 1 / 3, np.float32),
        contrast=np.zeros((0, 3), np.float32),
        head_prior=np.full(3, 1 / 3, np.float32),
    )


def tiny_encoder() -> onnx.ModelProto:
    """Return the masked loudness graph: waveform, lengths -> embedding ``float32[batch, 3]``."""
    nodes = [
        *_masked(),
        helper.make_node("Abs", ["masked"], ["magnitude"]),
        helper.make_node("ReduceSum", ["magnitude", "columns"], ["magnitude_sum"], keepdims=1),
        helper.make_node("Div", ["magnitude_sum", "counts"], ["mean_magnitude"]),
        helper.make_node("Mul", ["masked", "masked"], ["power"]),
        helper.make_node("ReduceSum", ["power", "columns"], ["power_sum"], keepdims=1),
        helper.make_node("Div", ["power_sum", "counts"], ["mean_power"]),
        helper.make_node("Div", ["counts", "counts"], ["constant"]),
        helper.make_node("Concat", ["mean_magnitude", "mean_power", "constant"], ["embedding"], axis=1),
    ]
    return _model("loudness", nodes, "embedding", 3)


def tiny_speaker_encoder() -> onnx.ModelProto:
    """Return the brightness graph: waveform, lengths -> voiceprint ``float32[batch, 2]`` on the unit circle.

    The angle is ``6 · sum |x[t] - x[t - 1]| / sum |x|``, without the step into the padding.
    """
    nodes = [
        *_masked(),
        helper.make_node("Slice", ["masked", "start", "last", "columns"], ["before"]),
        helper.make_node("Slice", ["masked", "columns", "end", "columns"], ["after"]),
        helper.make_node("Sub", ["after", "before"], ["steps"]),
        helper.make_node("Slice", ["mask", "columns", "end", "columns"], ["inside_steps"]),
        helper.make_node("Mul", ["steps", "inside_steps"], ["masked_steps"]),
        helper.make_node("ReduceL1", ["masked_steps"], ["variation"], axes=[1]),
        helper.make_node("ReduceL1", ["masked"], ["magnitude"], axes=[1]),
        helper.make_node("Add", ["magnitude", "tiny"], ["positive"]),
        helper.make_node("Div", ["variation", "positive"], ["brightness"]),
        helper.make_node("Mul", ["brightness", "turn"], ["angle"]),
        helper.make_node("Cos", ["angle"], ["right"]),
        helper.make_node("Sin", ["angle"], ["up"]),
        helper.make_node("Concat", ["right", "up"], ["voiceprint"], axis=1),
    ]
    return _model("brightness", nodes, "voiceprint", 2)


def _masked() -> list[onnx.NodeProto]:
    """Return nodes from waveform and lengths to ``masked``, its ``mask`` and the ``counts`` of valid samples."""
    return [
        helper.make_node("Shape", ["waveform"], ["samples"], start=1, end=2),
        helper.make_node("Squeeze", ["samples"], ["samples_scalar"]),
        helper.make_node("Range", ["zero", "samples_scalar", "one"], ["positions"]),
        helper.make_node("Unsqueeze", ["lengths", "columns"], ["ends"]),
        helper.make_node("Less", ["positions", "ends"], ["inside"]),
        helper.make_node("Cast", ["inside"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["waveform", "mask"], ["masked"]),
        helper.make_node("Cast", ["ends"], ["counts"], to=TensorProto.FLOAT),
    ]


def _model(name: str, nodes: list[onnx.NodeProto], output: str, dim: int) -> onnx.ModelProto:
    constants = {
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "columns": np.array([1], np.int64),
        "start": np.array([0], np.int64),
        "last": np.array([-1], np.int64),
        "end": np.array([2**31], np.int64),
        "tiny": np.array(1e-9, np.float32),
        "turn": np.array(6, np.float32),
    }
    used = {input_name for node in nodes for input_name in node.input}
    graph = helper.make_graph(
        nodes,
        name,
        [
            helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", dim])],
        [numpy_helper.from_array(value, key) for key, value in constants.items() if key in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
