"""Models of a small ``encoder.max_s``: what is too short is said. One of 1 s is exported in test_training_docs.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from calibrate.recipe import Recipe
from calibrate.run import build_run
from edge.errors import ModelError
from export.graph.encoder_graph import LEAST_S, EmbeddingGraph, write_onnx

pytestmark = pytest.mark.slow

LONGEST = 16_000


class Positions(nn.Module):
    """Adds a table of positions that is shorter than the example."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(LONGEST))

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        return (waveform + self.table[: waveform.shape[1]])[:, :3] / lengths[:, None]


def test_what_an_encoder_cannot_take_is_said_to_the_end(tmp_path: Path) -> None:
    """A line of the exporter that ends with a colon is nothing without the next."""
    with pytest.raises(
        ModelError, match=r"can\): The following inconsistencies were found: \S.* inconsistent!$"
    ) as error:
        write_onnx(Positions(), tmp_path / "graph.onnx", "traced with two seconds")
    assert "\n" not in str(error.value)


def test_an_input_that_is_too_short_for_a_graph_is_named(
    recipe_of: Callable[..., Recipe], encoders: dict[str, Path], tmp_path: Path
) -> None:
    run = build_run(recipe_of(encoder={"layers": 1, "pooled": [0, 1], "max_s": 0.05}), str(encoders["whisper"]))
    with pytest.raises(ModelError, match=rf"^encoder.max_s = 0.05: a graph takes {LEAST_S} s at least; train with"):
        write_onnx(EmbeddingGraph.of(run), tmp_path / "graph.onnx", "too short", longest_s=0.05)
