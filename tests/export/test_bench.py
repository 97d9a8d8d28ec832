import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge.audio import SAMPLE_RATE_HZ
from export import bench

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, bundle_folder: Path) -> Path:
    """Small shapes instead of large ones, and a bundle to compare with them."""
    monkeypatch.setattr(bench, "SHAPES", {"small": SMALL, "smaller": SMALL | {"num_hidden_layers": 0}})
    return bundle_folder


def test_rounds_alternate_between_the_models_and_the_first_one_warms() -> None:
    calls: list[str] = []
    waveform = np.zeros(10, np.float32)
    models = {name: (lambda heard, name=name: calls.append(f"{name}{len(heard)}")) for name in "ab"}
    times = bench.measure(models, waveform, 3)
    assert calls == ["a10", "b10"] * 4
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    assert min(min(values) for values in times.values()) >= 0


def test_a_shape_hears_the_whole_waveform_without_gradients() -> None:
    output: Any = bench.torch_shape(SMALL)(np.zeros(SAMPLE_RATE_HZ, np.float32))
    assert output.last_hidden_state.shape == (1, 49, 16)
    assert output.last_hidden_state.is_inference()


def test_the_shapes_are_those_of_the_papers() -> None:
    with torch.device("meta"):
        sizes = {
            name: sum(weight.numel() for weight in bench.HubertModel(bench.HubertConfig(**shape)).parameters()) / 1e6
            for name, shape in bench.SHAPES.items()
        }
    assert sizes["HuBERT-large shape"] == pytest.approx(316, rel=0.01)
    assert sizes["HuBERT-base shape"] == pytest.approx(95, rel=0.01)
    assert sizes["DistilHuBERT shape"] == pytest.approx(23.5, rel=0.02)


def test_the_table_states_what_was_measured(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys, "argv", ["bench", "--bundle", str(small), "--seconds", "0.5", "--rounds", "2"])
    bench.main()
    printed = capsys.readouterr().out
    assert "0.5 s, 1 thread" in printed
    for name in ("affectd tiny, fp32", "small", "smaller"):
        assert name in printed
    assert f"torch {torch.__version__}, onnxruntime" in printed
    assert "shapes have random weights, float32" in printed


def test_json_holds_every_time(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--bundle", str(small), "--seconds", "0.5", "--rounds", "2", "--json"])
    bench.main()
    measured = json.loads(capsys.readouterr().out)
    assert (measured["seconds"], measured["threads"]) == (0.5, 1)
    assert {name: len(values) for name, values in measured["times_ms"].items()} == {
        "affectd tiny, fp32": 2,
        "small": 2,
        "smaller": 2,
    }
