from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edge.errors import ModelError
from edge.population import POPULATION_NAME, Population
from helpers.factors import LABELS, World


@pytest.fixture
def path(tmp_path: Path) -> Path:
    World().population().save(tmp_path / POPULATION_NAME)
    return tmp_path / POPULATION_NAME


def test_a_population_is_read_as_it_was_written(path: Path) -> None:
    read, written = Population.load(path, LABELS), World().population()
    assert read.labels == LABELS
    for name in ("mean", "shifts", "offsets", "label_shares", "contrast", "head_prior"):
        assert np.array_equal(getattr(read, name), getattr(written, name))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mean": None}, "lacks mean"),
        ({"offsets": None, "mean": None}, "lacks mean, offsets"),
        ({"shifts": np.zeros((3, 12))}, r"shifts has shape \[3, 12\]"),
        ({"offsets": np.zeros((5, 11))}, r"offsets has shape \[5, 11\]"),
        ({"label_shares": np.zeros((5, 4))}, r"label_shares has shape \[5, 4\]"),
        ({"mean": np.zeros((12, 1))}, r"mean has shape \[12, 1\]"),
        ({"offsets": np.zeros((0, 12))}, r"offsets has shape \[0, 12\]"),
        ({"mean": np.full(12, np.nan)}, "mean holds values that are not finite"),
    ],
)
def test_a_wrong_population_is_refused(path: Path, changes: dict[str, Any], reason: str) -> None:
    tensors = load_file(path) | changes
    save_file({name: np.float32(tensor) for name, tensor in tensors.items() if tensor is not None}, path)
    with pytest.raises(ModelError, match=reason):
        Population.load(path, LABELS)


def test_values_of_the_speakers_are_read_as_they_were_written(path: Path) -> None:
    means, deviations = np.ones((20, 2), np.float32), np.full((20, 2), 0.5, np.float32)
    replace(World().population(), value_means=means, value_deviations=deviations).save(path)
    read = Population.load(path, LABELS, values=2)
    assert read.value_means is not None
    assert np.array_equal(read.value_means, means)
    assert read.value_deviations is not None
    assert np.array_equal(read.value_deviations, deviations)
    with pytest.raises(ModelError, match=r"value_means has shape \[20, 2\]"):
        Population.load(path, LABELS, values=3)


def test_what_earlier_versions_kept_besides_is_ignored(path: Path) -> None:
    more = {"between": np.eye(3, dtype=np.float32), "regulars_bias": np.zeros(4, np.float32)}
    save_file(load_file(path) | more, path)
    assert np.array_equal(Population.load(path, LABELS).mean, World().population().mean)


def test_a_head_of_an_earlier_version_takes_the_mean_of_the_speakers_for_usual(path: Path) -> None:
    tensors = load_file(path)
    del tensors["head_prior"]
    tensors["label_shares"][:] = [0.7, 0.1, 0.1, 0.1]
    save_file(tensors, path)
    assert Population.load(path, LABELS).head_prior == pytest.approx([0.7, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("content", [b"", b"not tensors", None])
def test_a_damaged_file_is_refused(path: Path, content: bytes | None) -> None:
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read"):
        Population.load(path, LABELS)
