"""Rounding a convolution's weights so that its output changes least, not each weight by itself.

What rounding one weight does to the output is made up for by those not rounded yet, along the moments of the layer's
input (GPTQ; Frantar et al. 2023, algorithm 1; the weights of the strongest inputs first).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edge.arrays import Doubles, Matrix
from export.graph.nodes import inner_session

PLACES = 400
"""Of an utterance, drawn, count towards the moments of an input."""
DAMPING = 0.01
"""Added to the diagonal, as a share of its mean."""
BLOCK = 64
"""Columns that are rounded before the others follow."""


def input_moments(
    model: onnx.ModelProto, convolutions: Sequence[onnx.NodeProto], features: Sequence[Matrix]
) -> dict[str, Doubles]:
    """Return by output name the second moments ``float64[n, n]`` of what each row of a convolution's weights sees.

    Args:
        model: float.
        convolutions: some of its nodes; those with groups are left out.
        features: of utterances, each ``float32[1, frames, 80]``.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    simple = [node for node in convolutions if _options(node).get("group", 1) == 1]
    names = sorted({node.input[0] for node in simple})
    session = inner_session(model, names)
    (source,) = session.get_inputs()
    rng = np.random.default_rng(0)
    found: dict[str, Doubles] = {}
    for utterance in features:
        values = dict(zip(names, session.run(names, {source.name: utterance}), strict=True))
        for node in simple:
            seen = patches(values[node.input[0]][0], node, shapes[node.input[1]][2:])
            if len(seen) > PLACES:
                seen = seen[rng.choice(len(seen), PLACES, replace=False)]
            moments = (seen.T @ seen).astype(np.float64) / len(seen)
            found[node.output[0]] = found.get(node.output[0], 0.0) + moments / len(features)
    return found


def patches(value: Matrix, node: onnx.NodeProto, kernel: tuple[int, ...]) -> Matrix:
    """Return ``float32[places, channels * kernel]``: what a convolution without groups reads of its input.

    Args:
        value: ``float32[channels, *space]``.
        node: the convolution.
        kernel: its size in each direction of space.
    """
    options, directions = _options(node), len(kernel)
    steps = options.get("strides", [1] * directions), options.get("dilations", [1] * directions)
    pads = options.get("pads", [0] * 2 * directions)
    padded = np.pad(value, [(0, 0), *zip(pads[:directions], pads[directions:], strict=True)])
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, steps[1], strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(1, directions + 1)))
    every = (slice(None), *(slice(None, None, step) for step in (*steps[0], *steps[1])))
    seen: Matrix = np.moveaxis(windows[every], 0, directions)
    return seen.reshape(int(np.prod(seen.shape[:directions])), -1)


def round_rows(rows: Matrix, scale: Matrix, most: int, moments: Doubles | None) -> npt.NDArray[np.int8]:
    """Return ``int8[out, n]`` of -most to most, to be multiplied by the scale of each row.

    Args:
        rows: a convolution's weights, ``float32[out, n]``.
        scale: ``float32[out]``.
        most: greatest integer.
        moments: of what the rows see, ``float64[n, n]``; None: every weight is rounded by itself.
    """
    if moments is None:
        return np.asarray(np.clip(np.rint(rows / scale[:, None]), -most, most), np.int8)
    order = np.argsort(-np.diag(moments), kind="stable")
    damped = moments[np.ix_(order, order)] + max(DAMPING * np.trace(moments) / len(moments), 1e-9) * np.eye(len(order))
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    left = rows[:, order].astype(np.float64)
    rounded = np.empty_like(left)
    for start in range(0, len(order), BLOCK):
        stop = min(start + BLOCK, len(order))
        errors = np.empty((len(rows), stop - start))
        for column in range(start, stop):
            rounded[:, column] = np.clip(np.rint(left[:, column] / scale), -most, most)
            error = (left[:, column] - rounded[:, column] * scale) / factor[column, column]
            left[:, column + 1 : stop] -= np.outer(error, factor[column, column + 1 : stop])
            errors[:, column - start] = error
        left[:, stop:] -= errors @ factor[start:stop, stop:]
    whole = np.empty(rows.shape, np.int8)
    whole[:, order] = rounded
    return whole


def _options(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
