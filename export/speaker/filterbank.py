"""Kaldi's log mel filterbank as ONNX nodes, for one utterance and only its valid samples.

25 ms frames every 10 ms that lie wholly inside the utterance, without dither. Removing a frame's mean, pre-emphasis,
window and Fourier transform are one matrix, and so one convolution.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edge.arrays import Doubles
from edge.audio import SAMPLE_RATE_HZ

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
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
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
    mel = mel_weights()
    return nodes, {
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "shortest": np.array(SHORTEST, np.int64),
        "scale": np.array(scale, np.float32),
        "as_signal": np.array([1, 1, -1], np.int64),
        "fourier": fourier_basis(window)[:, None, :].astype(np.float32),
        "mel": np.concatenate([mel, mel], axis=1)[:, :, None].astype(np.float32),
        "floor": np.array(FLOOR, np.float32),
    }


def fourier_basis(window: Window) -> Doubles:
    """Return ``float64[512, 400]``: a frame to the real and the imaginary parts of its bins below the highest."""
    time = np.arange(WINDOW)
    cosine = np.cos(2 * np.pi * time / (WINDOW - 1))
    shape = (0.5 - 0.5 * cosine) ** 0.85 if window == "povey" else 0.54 - 0.46 * cosine
    centring = np.eye(WINDOW) - 1 / WINDOW
    emphasis = np.eye(WINDOW) - PREEMPHASIS * np.eye(WINDOW, k=-1)
    emphasis[0, 0] -= PREEMPHASIS  # before the first sample there is another like it
    angle = 2 * np.pi * np.outer(np.arange(FOURIER // 2), time) / FOURIER
    transform = np.concatenate([np.cos(angle), -np.sin(angle)])
    return np.asarray((transform * shape) @ emphasis @ centring)


def mel_weights() -> Doubles:
    """Return ``float64[80, 256]``: Kaldi's triangles, which are straight on the mel scale, up to half the rate."""
    edges = np.linspace(_mel(LOWEST_HZ), _mel(SAMPLE_RATE_HZ / 2), MELS + 2)
    bins = _mel(np.arange(FOURIER // 2) * SAMPLE_RATE_HZ / FOURIER)
    left, centre, right = (edges[start : start + MELS, None] for start in range(3))
    return np.asarray(np.maximum(0.0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))))


def _mel(frequency_hz: Any) -> Any:
    return 1127.0 * np.log(1.0 + np.asarray(frequency_hz) / 700.0)
