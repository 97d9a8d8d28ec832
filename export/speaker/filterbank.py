"""Kaldi's log mel filterbank as ONNX nodes, for one utterance and only its valid samples.

25 ms frames every 10 ms that lie wholly inside the utterance, without dither. Removing a frame's mean, pre-emphasis,
window and Fourier transform are one matrix, and so one convolution. Its weights and the mel triangles would be a
megabyte; the graph computes them from a few vectors, which onnxruntime does once, when it loads the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.arrays import Doubles, Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from export.graph.nodes import inner_session

MELS = 80
WINDOW, HOP, FOURIER = 400, 160, 512
"""25 ms every 10 ms, padded to a power of two."""
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)
"""Of the mel power, before the logarithm."""
SHORTEST = SAMPLE_RATE_HZ // 2
"""A shorter utterance is repeated up to this many samples, since statistics pooling needs some frames."""

Window = Literal["povey", "hamming"]
Step = tuple[str, list[str], str, dict[str, Any]]
"""A node: operator, inputs, output and attributes."""

FOURIER_STEPS: list[Step] = [
    ("Mul", ["bins", "frame"], "turns", {}),
    ("Mod", ["turns", "fourier_size"], "phase", {}),
    ("Gather", ["cosine", "phase"], "real", {}),
    ("Gather", ["sine", "phase"], "imaginary", {}),
    ("Concat", ["real", "imaginary"], "transform", {"axis": 0}),
    ("Mul", ["transform", "window"], "windowed", {}),
    # Pre-emphasis: every sample less a share of the one before; before the first there is another like it.
    ("Gather", ["windowed", "later"], "next_sample", {"axis": 1}),
    ("Mul", ["next_sample", "inside"], "next_inside", {}),
    ("Gather", ["windowed", "origin"], "first_sample", {"axis": 1}),
    ("Mul", ["first_sample", "at_start"], "first_twice", {}),
    ("Add", ["next_inside", "first_twice"], "before", {}),
    ("Mul", ["before", "emphasis"], "less", {}),
    ("Sub", ["windowed", "less"], "emphasised", {}),
    ("Reshape", ["emphasised", "kernel"], "basis", {}),
    ("GlobalAveragePool", ["basis"], "constant_offset", {}),
    ("Sub", ["basis", "constant_offset"], "fourier", {}),
]
"""To ``fourier float32[512, 1, 400]``: a frame to the real and the imaginary parts of its bins below the highest."""
MEL_STEPS: list[Step] = [
    ("Sub", ["mel_of_bin", "left"], "above_left", {}),
    ("Sub", ["centre", "left"], "rise", {}),
    ("Div", ["above_left", "rise"], "rising", {}),
    ("Sub", ["right", "mel_of_bin"], "below_right", {}),
    ("Sub", ["right", "centre"], "fall", {}),
    ("Div", ["below_right", "fall"], "falling", {}),
    ("Min", ["rising", "falling"], "triangle", {}),
    ("Max", ["triangle", "nothing"], "triangles", {}),
    ("Concat", ["triangles", "triangles"], "of_both_parts", {"axis": 1}),
    ("Reshape", ["of_both_parts", "mel_kernel"], "mel", {}),
]
"""To ``mel float32[80, 512, 1]``: Kaldi's triangles, straight on the mel scale, of the powers of both parts."""


def filterbank(
    output: str, window: Window, scale: float, centred: bool
) -> tuple[list[onnx.NodeProto], dict[str, npt.NDArray[Any]]]:
    """Return nodes from ``row float32[samples]``, ``length int64[]`` to features, and the constants they use by name.

    Args:
        output: name of the features, ``float32[1, frames, 80]``.
        window: of a frame.
        scale: what the waveform is multiplied by.
        centred: subtract the mean over the frames.
    """
    steps: list[Step] = [
        *FOURIER_STEPS,
        *MEL_STEPS,
        ("Max", ["length", "one"], "heard", {}),
        ("Max", ["heard", "shortest"], "used", {}),
        ("Range", ["zero", "used", "one"], "time", {}),
        ("Mod", ["time", "heard"], "place", {}),
        ("Gather", ["row", "place"], "samples_used", {"axis": 0}),
        ("Mul", ["samples_used", "scale"], "scaled", {}),
        ("Reshape", ["scaled", "as_signal"], "signal", {}),
        ("Conv", ["signal", "fourier"], "spectrum", {"strides": [HOP]}),
        ("Mul", ["spectrum", "spectrum"], "power", {}),
        ("Conv", ["power", "mel"], "mel_power", {}),
        ("Max", ["mel_power", "floor"], "floored", {}),
        ("Log", ["floored"], "log_mel", {}),
    ]
    last = "log_mel"
    if centred:
        steps += [("GlobalAveragePool", [last], "mean", {}), ("Sub", [last, "mean"], "centred", {})]
        last = "centred"
    steps.append(("Transpose", [last], output, {"perm": [0, 2, 1]}))
    nodes = [helper.make_node(operator, inputs, [output], **options) for operator, inputs, output, options in steps]
    return nodes, _constants(window, scale)


def _constants(window: Window, scale: float) -> dict[str, npt.NDArray[Any]]:
    edges = np.linspace(_mel(LOWEST_HZ), _mel(SAMPLE_RATE_HZ / 2), MELS + 2).astype(np.float32)
    bins = np.arange(FOURIER // 2)
    return {
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "shortest": np.array(SHORTEST, np.int64),
        "scale": np.array(scale, np.float32),
        "as_signal": np.array([1, 1, -1], np.int64),
        "floor": np.array(FLOOR, np.float32),
        "window": window_shape(window).astype(np.float32),
        "frame": np.arange(WINDOW),
        "bins": bins[:, None],
        "fourier_size": np.array(FOURIER),
        "cosine": np.cos(2 * np.pi * np.arange(FOURIER) / FOURIER).astype(np.float32),
        "sine": np.sin(-2 * np.pi * np.arange(FOURIER) / FOURIER).astype(np.float32),
        "emphasis": np.array(PREEMPHASIS, np.float32),
        "later": np.minimum(np.arange(WINDOW) + 1, WINDOW - 1),
        "inside": np.where(np.arange(WINDOW) < WINDOW - 1, 1, 0).astype(np.float32),
        "origin": np.array([0]),
        "at_start": np.eye(1, WINDOW, dtype=np.float32)[0],
        "kernel": np.array([FOURIER, 1, WINDOW]),
        "left": edges[:-2, None],
        "centre": edges[1:-1, None],
        "right": edges[2:, None],
        "mel_of_bin": _mel(bins * SAMPLE_RATE_HZ / FOURIER).astype(np.float32),
        "nothing": np.array(0, np.float32),
        "mel_kernel": np.array([MELS, FOURIER, 1]),
    }


def window_shape(window: Window) -> Doubles:
    """Return ``float64[400]``, what a frame's samples are weighted with."""
    cosine = np.cos(2 * np.pi * np.arange(WINDOW) / (WINDOW - 1))
    return np.asarray((0.5 - 0.5 * cosine) ** 0.85 if window == "povey" else 0.54 - 0.46 * cosine)


def _mel(frequency_hz: Any) -> Any:
    return 1127.0 * np.log(1.0 + np.asarray(frequency_hz) / 700.0)


def extract_features(waveforms: Sequence[Waveform], window: Window, scale: float, centred: bool) -> list[Matrix]:
    """Return ``float32[1, frames, 80]`` of each waveform, see ``filterbank``."""
    nodes, constants = filterbank("features", window, scale, centred)
    graph = helper.make_graph(
        nodes,
        "filterbank",
        [
            helper.make_tensor_value_info("row", TensorProto.FLOAT, ["samples"]),
            helper.make_tensor_value_info("length", TensorProto.INT64, []),
        ],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, "frames", MELS])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = inner_session(model, ["features"])
    return [np.asarray(session.run(None, {"row": row, "length": np.array(len(row), np.int64)})[0]) for row in waveforms]
