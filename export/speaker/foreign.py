"""Published speaker encoders as they are: WeSpeaker and 3D-Speaker exports that take Kaldi filterbanks.

CAM++, ERes2Net, ECAPA and ResNet models come as ``float32[batch, frames, 80]`` to ``float32[batch, dim]``, with what
they were trained on in the metadata that sherpa-onnx reads. They have no input for lengths, so padding would change
their answer. The adapter puts the front end and the model into the body of a Scan over the batch: every utterance is
cut to its own length and runs by itself, whatever the bucket.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from edge.audio import SAMPLE_RATE_HZ
from edge.buckets import Buckets
from edge.encoder import SpeakerEncoder
from edge.errors import ModelError, UsageError
from edge.settings import EncoderSettings
from export.graph.encoder_graph import PRODUCER
from export.graph.parity import padding_error
from export.speaker.filterbank import filterbank
from export.speaker.published import PublishedEncoder

PREFIX = "foreign_"
TRIED_S = (1.0, 2.0, 4.0)
"""Buckets that a written model runs at once."""


@dataclass(frozen=True)
class Adapted:
    """A written speaker encoder, and how it ran."""

    framework: str
    dim: int
    padding_error: float
    milliseconds: float
    """For 3 s of speech, on one thread."""


def adapt_speaker_encoder(path: Path, target: Path, licence: str = "") -> Adapted:
    """Write a published model as ``waveform float32[batch, samples]``, ``lengths int64[batch]`` -> ``voiceprint``.

    Args:
        path: the published ONNX file.
        target: the file to write, replaced once the model has run.
        licence: of its weights, for the model card.

    Raises:
        ModelError: it is no model that can be adapted, or it does not run.
        UsageError: ``target`` cannot be written.
    """
    published = PublishedEncoder.load(path)
    model = wrap(published)
    metadata = {entry.key: entry.value for entry in published.model.metadata_props}
    named = {"architecture": f"{path.stem} ({published.framework})", "licence": licence or metadata.get("licence", "")}
    helper.set_model_props(model, {key: value for key, value in {**metadata, **named}.items() if value})
    with tempfile.TemporaryDirectory(prefix="affectd-") as scratch:
        written = Path(scratch, "speaker.onnx")
        try:
            onnx.checker.check_model(model)
            onnx.save(model, written)
        except Exception as error:  # onnx raises its own unrelated classes
            raise ModelError(f"{path}: cannot be wrapped: {str(error).splitlines()[0]}") from None
        adapted = _try_out(path, written, published)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(written, target)
        except OSError as error:
            raise UsageError(f"{target}: cannot be written: {error.strerror}") from None
    return adapted


def _try_out(path: Path, written: Path, published: PublishedEncoder) -> Adapted:
    encoder = SpeakerEncoder(written, published.dim, Buckets(TRIED_S), EncoderSettings(provider="cpu"))
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE_HZ).astype(np.float32)
    try:
        encoder.load()
        started_s = time.perf_counter()
        voiceprint = encoder.voiceprint(noise)
        elapsed_s = time.perf_counter() - started_s
        error = max(padding_error(encoder, noise[:SAMPLE_RATE_HZ]).values())
    except ModelError as failure:
        raise ModelError(
            f"{path}: does not run with the front end: {str(failure).removeprefix(str(written))}"
        ) from None
    if not np.isfinite(voiceprint).all():
        raise ModelError(f"{path}: gives voiceprints that are not finite")
    return Adapted(published.framework, published.dim, error, 1e3 * elapsed_s)


def wrap(published: PublishedEncoder) -> onnx.ModelProto:
    """Return the model that keeps the contract."""
    inner = compose.add_prefix(published.model, PREFIX)
    nodes, constants = filterbank(PREFIX + published.input, published.window, published.scale, published.centred)
    nodes += inner.graph.node
    flat = [("Reshape", [PREFIX + published.output, "flat"], "embedding"), *_UNIT]
    nodes += [helper.make_node(operator, inputs, [output]) for operator, inputs, output in flat]
    constants |= {"flat": np.array([-1], np.int64), "tiny": np.array(1e-12, np.float32)}
    body = helper.make_graph(
        nodes,
        "utterance",
        [_value("row", TensorProto.FLOAT, ["samples"]), _value("length", TensorProto.INT64, [])],
        [_value("print", TensorProto.FLOAT, [published.dim])],
        [*_initialisers(constants), *inner.graph.initializer],
        sparse_initializer=list(inner.graph.sparse_initializer),
    )
    scan = helper.make_node("Scan", ["waveform", "lengths"], [SpeakerEncoder.output], body=body, num_scan_inputs=2)
    graph = helper.make_graph(
        [scan],
        "speaker",
        [
            _value("waveform", TensorProto.FLOAT, ["batch", "samples"]),
            _value("lengths", TensorProto.INT64, ["batch"]),
        ],
        [_value(SpeakerEncoder.output, TensorProto.FLOAT, ["batch", published.dim])],
    )
    return helper.make_model(
        graph,
        opset_imports=list(inner.opset_import),
        ir_version=inner.ir_version,
        producer_name=PRODUCER,
        functions=list(inner.functions),
        doc_string=f"affectd speaker encoder: a {published.framework} model, front end included",
    )


_UNIT: list[tuple[str, list[str], str]] = [
    ("Mul", ["embedding", "embedding"], "squares"),
    ("ReduceSum", ["squares"], "square"),
    ("Max", ["square", "tiny"], "positive"),
    ("Sqrt", ["positive"], "norm_as_vector"),
    ("Div", ["embedding", "norm_as_vector"], "print"),
]


def _value(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _initialisers(constants: Mapping[str, npt.NDArray[Any]]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
