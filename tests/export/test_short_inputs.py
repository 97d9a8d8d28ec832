"""Models of a small ``encoder.max_s``: they are exported, or it is said what is too short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calibrate.dataset import read_parts
from calibrate.recipe import Recipe
from calibrate.run import Run, build_run, load_run
from calibrate.speakers.factor_model import population_of
from calibrate.train import train_run
from edge.bundle import Bundle
from edge.errors import ModelError
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings
from export.bundle.contents import Identity, Model
from export.bundle.write import export_bundle
from export.graph.encoder_graph import LEAST_S, EmbeddingGraph, write_onnx

pytestmark = pytest.mark.slow

Make = Callable[[float], Run]


@pytest.fixture
def made(recipe_of: Callable[..., Recipe], encoders: dict[str, Path]) -> Make:
    """Make an untrained run whose encoder takes so many seconds."""
    return lambda max_s: build_run(
        recipe_of(encoder={"layers": 1, "pooled": [0, 1], "max_s": max_s}), str(encoders["whisper"])
    )


def test_a_run_of_short_inputs_becomes_a_bundle(made: Make, data: Path, tmp_path: Path) -> None:
    run = made(1.0)
    parts = read_parts(run.recipe, data)
    train_run(run, parts, tmp_path / "run", tmp_path / "cache")
    run = load_run(tmp_path / "run")
    model = Model(run, population_of(run, parts["train"], run.source(tmp_path / "cache")))
    export_bundle(model, parts, tmp_path / "bundle", Identity("short", "1", "fp32"), "by a test")
    recognizer = Recognizer(Bundle.load(tmp_path / "bundle"), EncoderSettings(provider="cpu", threads=1))
    recognizer.load()
    assert recognizer.bundle.manifest.buckets_s == (1.0,)
    noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) / 10
    answers = recognizer.probabilities([noise[:samples] for samples in (900, 4_800, 48_000)])
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-4)


def test_what_an_encoder_cannot_take_is_said_to_the_end(made: Make, tmp_path: Path) -> None:
    """A line of the exporter that ends with a colon is nothing without the next."""
    with pytest.raises(
        ModelError, match=r"can\): The following inconsistencies were found: \S.* inconsistent!$"
    ) as error:
        write_onnx(EmbeddingGraph.of(made(1.0)), tmp_path / "graph.onnx", "traced with two seconds")
    assert "\n" not in str(error.value)


def test_an_input_that_is_too_short_for_a_graph_is_named(made: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"^encoder.max_s = 0.05: a graph takes {LEAST_S} s at least; train with"):
        write_onnx(EmbeddingGraph.of(made(0.05)), tmp_path / "graph.onnx", "too short", longest_s=0.05)
