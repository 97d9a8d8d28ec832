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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.buckets import Buckets
from edge.encoder import SpeakerEncoder
from edge.errors import ModelError, UsageError
from edge.settings import EncoderSettings
from export.graph.compact import compact, drop_unused, lift_constants
from export.graph.encoder_graph import PRODUCER
from export.graph.nodes import opset_of
from export.graph.parity import least_cosine, padding_error
from export.speaker.filterbank import extract_features, filterbank
from export.speaker.int8 import quantise_convolutions
from export.speaker.masking import MASKING_OPSET, mask_segments
from export.speaker.published import PublishedEncoder

PREFIX = "foreign_"
TRIED_S = (1.0, 2.0, 4.0)
"""Buckets that a written model runs at once."""
CHECKED_S = (1.0, 2.0, 4.0, 8.0, 12.0)
LEAST_COSINE = 0.96
"""Of int8 voiceprints to those of float: beside it, two utterances of one person have .5 to .8."""


@dataclass(frozen=True)
class Adapted:
    """A written speaker encoder, and how it ran."""

    framework: str
    dim: int
    padding_error: float
    milliseconds: float
    """For 3 s of speech, on one thread."""
    precision: Literal["fp32", "int8"] = "fp32"
    cosine: float = 1.0
    """Least cosine of its voiceprints to those of the float model, on the speech that it was not calibrated on."""


def adapt_speaker_encoder(path: Path, target: Path, licence: str = "", speech: Sequence[Waveform] = ()) -> Adapted:
    """Write a published model as ``waveform float32[batch, samples]``, ``lengths int64[batch]`` -> ``voiceprint``.

    With speech it is written in int8.

    Args:
        path: the published ONNX file.
        target: the file to write, replaced once the model has run.
        licence: of its weights, for the model card.
        speech: two utterances or more, of which the first half sets the ranges of int8 and the other checks it.

    Raises:
        ModelError: it is no model that can be adapted, it does not run, or int8 is not true enough.
        UsageError: ``target`` cannot be written.
    """
    published = PublishedEncoder.load(path)
    ranges, checks = speech[: len(speech) // 2], speech[len(speech) // 2 :]
    features = extract_features(ranges, published.window, published.scale, published.centred)
    model = wrap(published, features)
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
        if speech:
            onnx.save(wrap(published), Path(scratch, "float.onnx"))
            adapted = replace(
                adapted, precision="int8", cosine=_least_cosine(written, Path(scratch, "float.onnx"), published, checks)
            )
            if adapted.cosine < LEAST_COSINE:
                raise ModelError(
                    f"{path}: int8 is not true enough: the least cosine of its voiceprints to those of float is "
                    f"{adapted.cosine:.3f}, allowed is {LEAST_COSINE}; without --speech it stays in float"
                )
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


def _least_cosine(written: Path, floating: Path, published: PublishedEncoder, speech: Sequence[Waveform]) -> float:
    prints = []
    for path in (written, floating):
        encoder = SpeakerEncoder(path, published.dim, Buckets(CHECKED_S), EncoderSettings(provider="cpu"))
        encoder.open()
        prints.append(np.stack([encoder.voiceprint(waveform) for waveform in speech]))
    return least_cosine(*prints)


def wrap(published: PublishedEncoder, features: Sequence[Matrix] = ()) -> onnx.ModelProto:
    """Return the model that keeps the contract, in int8 if there are features to set its ranges."""
    source = onnx.ModelProto.FromString(published.model.SerializeToString())
    lift_constants(source.graph)
    if opset_of(source) >= MASKING_OPSET:
        mask_segments(source.graph)
    if features:
        drop_unused(source.graph)
        quantise_convolutions(source, features)
    inner = compose.add_prefix(source, PREFIX)
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
    compact(body)
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
