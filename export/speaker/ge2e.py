"""The speaker encoder of a bundle: GE2E and the long-term spectrum as one small ONNX graph."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxscript.optimizer
from onnx import TensorProto, helper, numpy_helper

from calibrate.speakers.verifier import SpeakerModel
from calibrate.speakers.voices import SpectrumProjection, load_voice_encoder
from edge.encoder import SpeakerEncoder
from export.graph.encoder_graph import quiet_libraries, write_onnx
from export.graph.quantise import HALF_MINIMUM

DESCRIPTION = "affectd speaker encoder: GE2E of Resemblyzer (Apache-2.0), front end included"
EVERY_SIZE = 1 << 30


def write_speaker(path: Path, model: SpeakerModel) -> None:
    """Write the encoder of a speaker model: GE2E with its projection, or a copy of its ONNX file.

    Raises:
        ModelError: resemblyzer, which brings GE2E's weights, is not installed.
    """
    if model.onnx is not None:
        shutil.copyfile(model.onnx, path)
    else:
        write_speaker_encoder(path, model.projection)


def write_speaker_encoder(path: Path, projection: SpectrumProjection | None = None) -> None:
    """Write ``waveform float32[batch, samples]``, ``lengths int64[batch]`` -> ``voiceprint float32[batch, dim]``.

    Args:
        path: of the ONNX file, about 2.8 MB.
        projection: of the spectrum, from ``calibrate.speakers.verification``; without it ``dim`` is 256, with it 416.

    Raises:
        ModelError: resemblyzer, which brings the weights, is not installed.
    """
    encoder = load_voice_encoder(projection)
    with tempfile.TemporaryDirectory(prefix="affectd-") as scratch:
        exported = write_onnx(encoder, Path(scratch, path.name), DESCRIPTION, SpeakerEncoder.output)
    with quiet_libraries():
        # The exporter leaves the reordering of the LSTM's gates to the run time.
        model: onnx.ModelProto = onnxscript.optimizer.optimize(
            exported, input_size_limit=EVERY_SIZE, output_size_limit=EVERY_SIZE
        )
    store_recurrent_int8(model)
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)


def store_recurrent_int8(model: onnx.ModelProto) -> None:
    """Store the large matrices of LSTMs as int8 with a scale per row, in place.

    onnxruntime unfolds them when it loads the graph, so the arithmetic stays float32 and padding cannot disturb it; its
    own dynamic int8 LSTM is slower here. The small input matrix of the first layer takes mel power, whose bands differ
    a thousandfold, and stays in float: as int8 it alone costs .03 of cosine, all others together less than .001.
    """
    graph = model.graph
    matrices = {name for node in graph.node if node.op_type == "LSTM" for name in node.input[1:3]}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in matrices]:
        name, values = tensor.name, numpy_helper.to_array(tensor)
        if values.size < HALF_MINIMUM:
            continue
        scale = np.abs(values).max(axis=-1, keepdims=True) / np.float32(127)
        stored = np.rint(values / np.maximum(scale, np.finfo(np.float32).tiny)).astype(np.int8)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(stored, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        graph.node.insert(0, helper.make_node("Mul", [f"{name}_steps", f"{name}_scale"], [name]))
        graph.node.insert(0, helper.make_node("Cast", [f"{name}_int8"], [f"{name}_steps"], to=TensorProto.FLOAT))
