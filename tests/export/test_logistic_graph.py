"""The graph of a logistic head on voiced tokens, in float and int8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calibrate.dataset import Part, read_parts
from calibrate.recipe import Recipe
from calibrate.run import Run, build_run
from calibrate.train import train_run
from edge.arrays import Matrix
from edge.buckets import Buckets
from edge.encoder import Encoder
from edge.settings import EncoderSettings
from export.graph.encoder_graph import EmbeddingGraph, write_onnx
from export.graph.parity import (
    batch_error,
    bucketed_embeddings,
    least_cosine,
    padding_errors,
    some_speech,
    torch_embeddings,
)
from export.graph.quantise import calibration_feeds, quantise_int8

pytestmark = pytest.mark.slow

BUCKETS = Buckets((0.5, 1.0))


@pytest.fixture(scope="module")
def trained(
    data: Path,
    recipe_of: Callable[..., Recipe],
    encoders: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Run, Part]:
    recipe = recipe_of(
        encoder={"layers": 1, "pooled": [0, 1], "voiced_db": 30.0, "max_s": 3.0},
        augmentation={"copies": 0},
        head={"kind": "logistic", "favour": 0.25},
        splits={"file": "", "fractions": [1.0, 0.0, 0.0]},
    )
    run, folder = build_run(recipe, str(encoders["whisper"])), tmp_path_factory.mktemp("logistic")
    parts = read_parts(recipe, data)
    train_run(run, parts, folder, folder / "cache")
    return run, parts["train"]


@pytest.fixture(scope="module")
def paths(trained: tuple[Run, Part], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    found = {way: folder / f"{way}.onnx" for way in ("fp32", "dynamic", "static")}
    write_onnx(EmbeddingGraph.of(trained[0]), found["fp32"], "tiny")
    quantise_int8(found["fp32"], found["dynamic"])
    quantise_int8(found["fp32"], found["static"], calibration_feeds(some_speech(trained[1], 12), BUCKETS))
    return found


def opened(path: Path) -> Encoder:
    encoder = Encoder(path, 16, BUCKETS, EncoderSettings(provider="cpu", threads=1))
    encoder.load()
    return encoder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "cosine", "moved"), [("fp32", 0.9999, 1e-3), ("static", 0.97, 0.1), ("dynamic", 0.97, 0.1)]
)
def test_the_graph_is_the_model(
    trained: tuple[Run, Part], paths: dict[str, Path], way: str, cosine: float, moved: float
) -> None:
    waveforms = some_speech(trained[1], 8)
    encoder = opened(paths[way])
    expected = torch_embeddings(EmbeddingGraph.of(trained[0]), waveforms)
    assert least_cosine(bucketed_embeddings(encoder, waveforms), expected) >= cosine
    assert max(padding_errors(encoder, waveforms).values()) < moved
    if way != "dynamic":
        assert batch_error(encoder, waveforms) < moved


@pytest.mark.slow
@pytest.mark.parametrize(("way", "most"), [("fp32", 1e-3), ("static", 1e-3)])
def test_silence_behind_the_voice_is_not_in_the_answer(
    trained: tuple[Run, Part], paths: dict[str, Path], way: str, most: float
) -> None:
    encoder = opened(paths[way])
    (voice,) = some_speech(trained[1], 1)
    voice = np.concatenate([voice, np.zeros(800, np.float32)])  # or its last token would end with it
    expected = encoder.embed([voice], 16_000)
    for behind in (320, 2_000, 7_000):
        found: Matrix = encoder.embed([np.concatenate([voice, np.zeros(behind, np.float32)])[:16_000]], 16_000)
        assert np.linalg.norm(found - expected) < most * np.linalg.norm(expected)
