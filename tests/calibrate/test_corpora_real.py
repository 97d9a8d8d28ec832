"""The readers against real recordings and their independently written manifest, where a checkout has them beside it."""

import csv
from pathlib import Path

import pytest

from calibrate.corpora import read_corpus
from calibrate.corpora.labels import to_label
from calibrate.splits import read_splits, split_by_speaker

CLIPS = {"ravdess": 1_199, "nemo": 3_403, "banglaser": 1_293}


@pytest.fixture
def data(shared: Path) -> Path:
    return shared / "data"


@pytest.mark.parametrize("corpus", CLIPS)
def test_readers_agree_with_the_manifest(data: Path, corpus: str) -> None:
    with (data / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["corpus"] == corpus]
    labels = ("calm",) if corpus == "ravdess" else ()
    listing = read_corpus(corpus, data / corpus, strict=True)
    assert len(listing.utterances) == len(rows) == CLIPS[corpus]
    read = {
        utterance.path.relative_to(data).as_posix(): (
            utterance.speaker,
            utterance.gender,
            to_label(utterance.emotion, labels) or to_label(utterance.emotion),
        )
        for utterance in listing.utterances
    }
    expected = {
        row["path"]: (row["speaker"], row["gender"], to_label(row["emotion"], labels) or to_label(row["emotion"]))
        for row in rows
    }
    assert read == expected
    if corpus != "banglaser":
        assert all(utterance.text for utterance in listing.utterances)


def test_the_fixed_split_covers_everyone(data: Path) -> None:
    utterances = [utterance for name in CLIPS for utterance in read_corpus(name, data / name).utterances]
    splits = read_splits(data / "splits.csv")
    parts = split_by_speaker(utterances, splits)
    assert sum(map(len, parts.values())) == len(utterances) == sum(CLIPS.values())
    assert set(splits) == {utterance.speaker for utterance in utterances}
    for name in CLIPS:
        assert all(any(utterance.corpus == name for utterance in part) for part in parts.values())
