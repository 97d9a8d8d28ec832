import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel

from calibrate.recipe import HeadRecipe, Recipe
from calibrate.run import build_run, load_run
from calibrate.training.heads import Classifier
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.buckets import Buckets
from edge.bundle import ENCODER_NAME
from edge.encoder import Encoder
from edge.errors import ModelError
from edge.settings import EncoderSettings
from export.bundle.contents import BUCKETS_S
from export.graph.encoder_graph import OPSET, EmbeddingGraph, quiet_libraries, write_onnx
from export.graph.parity import least_cosine, padding_error

pytestmark = pytest.mark.slow

MAX_S = 3.0
BUCKETS = tuple(bucket for bucket in BUCKETS_S if bucket <= MAX_S)
SHAPES = [(1, 16_000), (2, 16_001), (3, 24_039), (2, 1_600), (1, 1_000), (3, 399), (1, 5), (1, 48_000), (3, 47_777)]
"""Batch and samples: whole hops and not, below the 0.1 s that tracing assumes, the longest bucket."""


@dataclass(frozen=True)
class Pair:
    """A torch model and the session of its exported graph."""

    graph: EmbeddingGraph
    encoder: Encoder

    def torch(self, waveform: Waveform, lengths: np.ndarray) -> Matrix:
        with torch.inference_mode():
            found: Matrix = self.graph(torch.from_numpy(waveform), torch.from_numpy(lengths)).numpy()
        return found


def opened(path: Path, dim: int) -> Encoder:
    encoder = Encoder(path, dim, Buckets(BUCKETS), EncoderSettings(provider="cpu", threads=1))
    encoder.load()
    return encoder


@pytest.fixture(scope="session", params=["whisper, linear", "hubert, dense and weighted"])
def pair(
    request: pytest.FixtureRequest,
    encoders: dict[str, Path],
    recipe_of: Callable[..., Recipe],
    tmp_path_factory: pytest.TempPathFactory,
) -> Pair:
    """The trained run that the command line exported, and a model of the other family with the other head."""
    if request.param == "whisper, linear":
        exported = request.getfixturevalue("exported").folder / ENCODER_NAME
        return Pair(EmbeddingGraph.of(load_run(request.getfixturevalue("run_folder"))), opened(exported, 16))
    folder = tmp_path_factory.mktemp("hubert")
    torch.manual_seed(0)
    config = HubertConfig.from_pretrained(encoders["hubert"]).to_dict()
    del config["num_feat_extract_layers"]
    config |= {"conv_dim": (8, 8), "conv_kernel": (10, 3), "conv_stride": (80, 4)}  # fewer of them trace faster
    HubertModel(HubertConfig(**config)).save_pretrained(folder)
    recipe = recipe_of(
        encoder={"layers": 1, "pooled": [0, 1], "max_s": MAX_S},
        head={"kind": "dense", "mix": "weighted", "dim": 12},
    )
    run = build_run(recipe, str(folder))
    assert run.classifier.mix.weights is not None
    run.classifier.mix.weights.data = torch.tensor([0.8, -0.6])
    graph = EmbeddingGraph.of(run)
    write_onnx(graph, folder / ENCODER_NAME, request.param)
    return Pair(graph, opened(folder / ENCODER_NAME, 12))


def noise(batch: int, samples: int, seed: int = 0) -> Waveform:
    return (0.1 * np.random.default_rng(seed).standard_normal((batch, samples))).astype(np.float32)


def moved(found: Matrix, expected: Matrix) -> float:
    """Return how far the rows are from what is expected, relatively."""
    return float((np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "samples"), SHAPES)
def test_the_graph_is_the_model_at_every_length_and_batch(pair: Pair, batch: int, samples: int) -> None:
    waveform = noise(batch, samples, samples)
    lengths = np.maximum(1, samples * np.array([10, 7, 3])[:batch] // 10)
    found = pair.encoder.embed_padded(waveform, lengths)
    assert found.shape == (batch, pair.encoder.dim)
    assert found.dtype == np.float32
    assert least_cosine(found, pair.torch(waveform, lengths)) >= 0.9999


@pytest.mark.parametrize("bucket_s", BUCKETS)
def test_what_lies_behind_a_length_never_matters(pair: Pair, bucket_s: float) -> None:
    samples = round(bucket_s * SAMPLE_RATE_HZ)
    lengths = np.array([samples - 37, samples // 2 + 1, samples // 3])
    clean = noise(3, samples)
    clean[np.arange(samples) >= lengths[:, None]] = 0
    junk = np.random.default_rng(1).uniform(-30, 30, clean.shape).astype(np.float32)
    junk = np.where(np.arange(samples) < lengths[:, None], clean, junk)
    expected = pair.encoder.embed_padded(clean, lengths)
    assert moved(pair.encoder.embed_padded(junk, lengths), expected) < 1e-3
    for row, length in enumerate(lengths):
        alone = pair.encoder.embed_padded(clean[row : row + 1, :length], lengths[row : row + 1])
        assert moved(expected[row : row + 1], alone) < 1e-3
        assert max(padding_error(pair.encoder, clean[row, :length]).values()) < 1e-3


def test_batch_mates_never_matter(pair: Pair) -> None:
    mine = noise(1, 20_000)
    mates = np.concatenate([8 * noise(1, 20_000, 1), mine, np.zeros_like(mine)])
    together = pair.encoder.embed_padded(mates, np.array([20_000, 11_111, 20_000]))
    assert moved(together[1:2], pair.encoder.embed_padded(mine, np.array([11_111]))) < 1e-3


def test_the_graph_is_deterministic_and_silence_is_a_number(pair: Pair) -> None:
    waveform, lengths = noise(2, 16_000), np.array([16_000, 9_000])
    np.testing.assert_array_equal(*(pair.encoder.embed_padded(waveform, lengths) for _ in range(2)))
    assert np.isfinite(pair.encoder.embed_padded(np.zeros_like(waveform), lengths)).all()


def test_the_graph_says_what_it_is(pair: Pair) -> None:
    model = onnx.load(pair.encoder.path)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert model.producer_name == "affectd-export"
    assert model.producer_version == torch.__version__
    assert model.doc_string
    shapes = {value.name: shape_of(value) for value in (*model.graph.input, *model.graph.output)}
    assert shapes == {
        "waveform": ["batch", "samples"],
        "lengths": ["batch"],
        "embedding": ["batch", pair.encoder.dim],
    }


class Statistics(nn.Module):
    """Stands for a pooled encoder: two layers of mean magnitude and mean power over the valid samples."""

    pooled = (0, 1)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        valid = waveform * (torch.arange(waveform.shape[1])[None, :] < lengths[:, None])
        sums = torch.stack([valid.abs().sum(1), valid.square().sum(1), valid.sum(1), valid.relu().sum(1)], dim=1)
        return 10 * sums / lengths[:, None]


@pytest.mark.parametrize(("kind", "mix"), [("dense", "concatenate"), ("linear", "weighted")])
def test_every_head_is_the_model(tmp_path: Path, kind: Any, mix: Any) -> None:
    torch.manual_seed(0)
    statistics: Any = Statistics()
    classifier = Classifier(HeadRecipe(kind=kind, mix=mix, dim=2), 2, 2, 3)
    classifier.standardise.fit(torch.rand(9, classifier.mix.dim))
    graph = EmbeddingGraph(statistics, classifier).eval()
    write_onnx(graph, tmp_path / "graph.onnx", kind)
    pair = Pair(graph, opened(tmp_path / "graph.onnx", 2))
    for batch, samples in SHAPES:
        waveform, lengths = noise(batch, samples), np.full(batch, max(1, samples // 2))
        assert least_cosine(pair.encoder.embed_padded(waveform, lengths), pair.torch(waveform, lengths)) >= 0.9999


def test_a_graph_whose_encoder_feels_padding_is_refused(
    encoders: dict[str, Path], recipe_of: Callable[..., Recipe]
) -> None:
    run = build_run(recipe_of(), str(encoders["hubert-group"]))
    with pytest.raises(ModelError, match=r"^hubert-group: a group-norm encoder .*; Whisper, and layer-norm HuBERT"):
        EmbeddingGraph.of(run)


class Pooled(nn.Module):
    """Mean of the valid samples, looked up in a table: an operator that is called like the graph's output."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        inside = torch.arange(waveform.shape[1])[None, :] < lengths[:, None]
        mean = (waveform * inside).sum(1, keepdim=True) / lengths[:, None]
        return self.table(lengths % 4) * mean


class Branching(Pooled):
    """Decides by the samples it hears, which no trace can hold."""

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(-waveform if waveform.sum() > 0 else waveform, lengths)


def test_an_inner_value_called_like_the_output_is_renamed(tmp_path: Path) -> None:
    graph: Any = Pooled()
    model = write_onnx(graph, tmp_path / "graph.onnx", "lookup")
    names = [name for node in model.graph.node for name in node.output]
    assert names.count("embedding") == 1
    waveform, lengths = noise(2, 300), np.array([300, 101])
    found = opened(tmp_path / "graph.onnx", 3).embed_padded(waveform, lengths)
    np.testing.assert_allclose(found, Pair(graph, None).torch(waveform, lengths), rtol=1e-4)  # type: ignore[arg-type]


def test_a_model_that_cannot_be_traced_is_refused_in_one_line(tmp_path: Path) -> None:
    graph: Any = Branching()
    with pytest.raises(ModelError, match=r"cannot be exported \(Whisper, .* can\): \S") as error:
        write_onnx(graph, tmp_path / "graph.onnx", "branches")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_libraries_are_heard_again_after_an_export(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("onnxruntime")
    with quiet_libraries():
        logger.warning("advice")
        warnings.warn("advice", stacklevel=1)
    assert not caplog.records
    with pytest.raises(RuntimeError), quiet_libraries():
        raise RuntimeError
    logger.warning("news")
    assert caplog.messages == ["news"]


def shape_of(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
