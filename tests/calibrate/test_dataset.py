import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.corpora import Utterance
from calibrate.dataset import Part, label_indices, read_parts
from calibrate.recipe import Recipe
from edge.errors import UsageError

MakeRecipe = Callable[..., Recipe]


def part_of(cells: list[tuple[str, int]]) -> Part:
    utterances = [
        Utterance(Path(f"{row}.wav"), corpus, f"{corpus}-1", "happy") for row, (corpus, _) in enumerate(cells)
    ]
    return Part(utterances, np.array([label for _, label in cells], np.int64))


def test_parts_are_those_of_the_table(data: Path, recipe_of: MakeRecipe) -> None:
    parts = read_parts(recipe_of(), data)
    assert {name: set(part.speakers.tolist()) for name, part in parts.items()} == {
        "train": {"ravdess-01", "ravdess-02", "ravdess-03", "ravdess-04", "office-anna", "office-ben"},
        "validation": {"ravdess-05", "office-cem"},
        "test": {"ravdess-06", "office-dana"},
    }
    train = parts["train"]
    assert (train.corpora == "ravdess").sum() == 4 * 6
    assert len(train.paths) == len(train.labels) == 4 * 6 + 2 * 6
    assert all(path.is_file() for path in train.paths)
    assert np.bincount(train.labels).tolist() == [12, 12, 12]
    assert [train.utterances[row].emotion for row in (0, len(train.paths) - 1)] == ["neutral", "neutral"]
    assert {name: corpus.licence for name, corpus in train.origins.items()} == {
        "ravdess": "CC BY-NC-SA 4.0",
        "office": "own",
    }


def test_labels_of_the_recipe_decide_what_is_left_out(
    data: Path, recipe_of: MakeRecipe, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        parts = read_parts(recipe_of(labels=["angry", "neutral"]), data)
    assert sum(len(part.paths) for part in parts.values()) == (6 + 4) * 4
    assert {utterance.emotion for part in parts.values() for utterance in part.utterances} == {"angry", "neutral"}
    assert "csv: left out for lack of a label: {'happy': 8}" in caplog.text
    part = parts["test"]
    assert label_indices(part.utterances, ["angry", "neutral"]).tolist() == part.labels.tolist()


def test_leaving_corpora_out(data: Path, recipe_of: MakeRecipe) -> None:
    assert set(read_parts(recipe_of().leave_out(["csv"]), data)["train"].corpora) == {"ravdess"}
    with pytest.raises(UsageError, match="--without nemo"):
        recipe_of().leave_out(["nemo"])
    with pytest.raises(UsageError, match="no corpus is left"):
        read_parts(recipe_of().leave_out(["csv", "ravdess"]), data)


def test_a_drawn_split_shares_no_speaker_and_follows_the_seed(data: Path, recipe_of: MakeRecipe) -> None:
    def drawn(seed: int) -> list[set[str]]:
        parts = read_parts(recipe_of(splits={"file": "", "fractions": [0.6, 0.2, 0.2]}, seed=seed), data)
        return [set(part.speakers.tolist()) for part in parts.values()]

    train, validation, test = drawn(0)
    assert (len(train), len(validation), len(test)) == (6, 2, 2)
    assert len(train | validation | test) == 10
    assert drawn(0) == [train, validation, test]
    assert any(drawn(seed) != drawn(0) for seed in range(1, 4))


def test_refused_files_are_told_or_fatal(
    data: Path, recipe_of: MakeRecipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(data, tmp_path / "data")
    shutil.copy(next(data.rglob("*.wav")), tmp_path / "data" / "ravdess" / "holiday.wav")
    with caplog.at_level(logging.WARNING):
        parts = read_parts(recipe_of(), tmp_path / "data")
    assert sum(len(part.paths) for part in parts.values()) == 36 + 24
    assert "'holiday.wav' is not named" in caplog.text
    with pytest.raises(UsageError, match=r"1 audio files are not ravdess: 'holiday.wav'"):
        read_parts(recipe_of(), tmp_path / "data", strict=True)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=60))
def test_corpora_weigh_the_same_and_labels_within_them(cells: list[tuple[str, int]]) -> None:
    part = part_of(cells)
    weights = part.balanced_weights()
    assert weights.sum() == pytest.approx(1)
    for corpus in set(part.corpora):
        inside = part.corpora == corpus
        assert weights[inside].sum() == pytest.approx(1 / len(set(part.corpora)))
        labels = set(part.labels[inside].tolist())
        for label in labels:
            assert weights[inside & (part.labels == label)].sum() == pytest.approx(weights[inside].sum() / len(labels))


def test_selecting_rows_keeps_everything_in_step(data: Path, recipe_of: MakeRecipe) -> None:
    train = read_parts(recipe_of(), data)["train"]
    angry = train.select(train.labels == 2)
    assert set(angry.labels) == {2}
    assert {utterance.emotion for utterance in angry.utterances} == {"angry"}
    assert angry.origins == train.origins
