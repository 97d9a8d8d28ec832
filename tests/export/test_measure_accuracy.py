from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

from calibrate.corpora import Utterance
from calibrate.dataset import Part
from calibrate.splits import SPLITS, Split
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from edge.errors import UsageError
from export.measure import opensmile
from export.measure.opensmile import Features, Functionals, train_and_test, train_and_test_each
from export.measure.plan import Plan
from helpers.signals import silence, speech_like

CORPORA = ("one", "two")
EMOTIONS = ("neutral", "happy")
CLIPS = 20


def parts() -> dict[Split, Part]:
    """Two corpora, two labels in turn, other speakers in every part."""
    return {
        split: Part(
            [
                Utterance(Path(f"{corpus}-{split}-{clip}"), corpus, f"{corpus}-{split}", EMOTIONS[clip % 2])
                for corpus in CORPORA
                for clip in range(CLIPS)
            ],
            np.arange(len(CORPORA) * CLIPS) % 2,
        )
        for split in SPLITS
    }


def features(parts: dict[Split, Part], swapped: bool) -> Features:
    """One feature tells the label, with the opposite sign in the second corpus if ``swapped``, and one is noise."""
    rng = np.random.default_rng(0)
    table = {}
    for split, part in parts.items():
        sign = np.where((part.corpora == "two") & swapped, -1, 1)
        told = sign * (2 * part.labels - 1) + 0.1 * rng.standard_normal(len(part.labels))
        table[split] = np.stack([1000 + 5 * told, rng.standard_normal(len(told))], axis=1).astype(np.float32)
    return table


def test_a_machine_learns_what_the_features_tell() -> None:
    found = train_and_test(parts(), features(parts(), swapped=False))
    assert found.ua == {"one": 1.0, "two": 1.0}
    assert found.penalty > 0


def test_a_machine_for_each_corpus_learns_what_corpora_disagree_on() -> None:
    mixed = features(parts(), swapped=True)
    assert sum(train_and_test(parts(), mixed).ua.values()) < 1.5
    each = train_and_test_each(parts(), mixed)
    assert {corpus: result.ua[corpus] for corpus, result in each.items()} == {"one": 1.0, "two": 1.0}


class Counting(Functionals):
    """Counts what is computed, and measures loudness."""

    def __init__(self) -> None:
        self.name = "counting-1"
        self.heard = 0

    def __call__(self, waveform: Waveform) -> np.ndarray:
        self.heard += 1
        return np.array([waveform.std(), len(waveform)], np.float32)


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{seed}.wav" for seed in range(3)]
    for seed, path in enumerate(paths):
        soundfile.write(path, speech_like(0.5, seed), SAMPLE_RATE_HZ)
    return paths


def test_features_are_computed_once(clips: list[Path], tmp_path: Path) -> None:
    functionals = Counting()
    first = functionals.table(clips, tmp_path / "cache")
    again = functionals.table(clips[::-1], tmp_path / "cache")
    assert functionals.heard == len(clips)
    assert np.array_equal(first[::-1], again)


def test_an_interrupted_clip_is_computed_again(clips: list[Path], tmp_path: Path) -> None:
    functionals = Counting()
    functionals.table(clips[:1], tmp_path / "cache")
    (kept,) = (tmp_path / "cache").rglob("*.npz")
    kept.rename(kept.with_suffix(".partial"))
    functionals.table(clips[:1], tmp_path / "cache")
    assert functionals.heard == 2


def test_a_clip_that_changed_is_computed_again(clips: list[Path], tmp_path: Path) -> None:
    functionals = Counting()
    functionals.table(clips[:1], tmp_path / "cache")
    clips[0].write_bytes(clips[1].read_bytes())
    functionals.table(clips[:1], tmp_path / "cache")
    assert functionals.heard == 2


@pytest.mark.parametrize(("feature_set", "size"), [("eGeMAPSv02", 88), ("ComParE_2016", 6373)])
def test_functionals_are_finite_even_in_silence(feature_set: str, size: int) -> None:
    if not opensmile.installed():
        pytest.skip("openSMILE comes with the extra `bench`, see `make bench`")
    for waveform in (speech_like(1.0), silence(1.0, -120)):
        found = Functionals(feature_set)(waveform)
        assert (found.shape, found.dtype) == ((size,), np.dtype(np.float32))
        assert np.isfinite(found).all()


def test_without_data_there_are_no_corpora() -> None:
    with pytest.raises(UsageError, match="--data"):
        Plan(cast("tuple[Bundle, ...]", ())).parts()
