from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from calibrate.corpora import Utterance
from calibrate.pretraining.quality import Quality, measure

SPEAKERS, SENTENCES, EMOTIONS = 3, 4, ("neutral", "happy")


@dataclass(frozen=True)
class Made:
    """Classes of frames that a test made up."""

    classes: int
    rows: list[npt.NDArray[np.int64]]

    def of(self, row: int) -> npt.NDArray[np.int64]:
        return self.rows[row]


def corpus(name: str = "tiny") -> list[Utterance]:
    """Everybody says everything in every emotion."""
    return [
        Utterance(Path("a.wav"), name, f"{name}-{speaker}", emotion, sentence=f"{sentence}")
        for speaker in range(SPEAKERS)
        for sentence in range(SENTENCES)
        for emotion in EMOTIONS
    ]


UTTERANCES = corpus()


def by(values: list[int], classes: int, frames: int = 20) -> Made:
    """One class an utterance."""
    return Made(classes, [np.full(frames, value) for value in values])


def test_classes_that_are_who_speaks() -> None:
    quality = measure(by([int(each.speaker[-1]) for each in UTTERANCES], SPEAKERS), UTTERANCES)
    expected = Quality(used=1, perplexity=1, corpus=0, speaker=1, emotion=0, content=0)
    assert quality.model_dump() == pytest.approx(expected.model_dump(), abs=1e-9)


def test_classes_that_are_the_emotion() -> None:
    quality = measure(by([EMOTIONS.index(each.emotion) for each in UTTERANCES], 4), UTTERANCES)
    expected = Quality(used=0.5, perplexity=0.5, corpus=0, speaker=0, emotion=1, content=0)
    assert quality.model_dump() == pytest.approx(expected.model_dump(), abs=1e-9)


def test_classes_that_are_what_is_said() -> None:
    """However long an utterance is: its tenths count, each as often as it has frames."""
    rows = [
        int(each.sentence or 0) * 10 + np.arange(length) * 10 // length
        for each, length in zip(UTTERANCES, range(10, 34), strict=True)
    ]
    quality = measure(Made(40, rows), UTTERANCES)
    assert quality.content == pytest.approx(1)
    assert max(quality.speaker, quality.emotion) < 0.02
    assert quality.perplexity > 0.98


def test_one_class_says_nothing() -> None:
    quality = measure(by([0] * len(UTTERANCES), 10), UTTERANCES)
    expected = Quality(used=0.1, perplexity=0.1, corpus=0, speaker=0, emotion=0, content=0)
    assert quality.model_dump() == pytest.approx(expected.model_dump(), abs=1e-9)


@settings(max_examples=10)
@given(seed=st.integers(0, 1_000), classes=st.integers(2, 20))
def test_random_classes_say_no_more_than_the_bias(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    quality = measure(Made(classes, [random.integers(classes, size=400) for _ in UTTERANCES]), UTTERANCES)
    frames = 400 * len(UTTERANCES)
    assert quality.used == 1
    assert quality.perplexity > 0.99
    for share, values in ((quality.speaker, SPEAKERS), (quality.emotion, 2), (quality.content, 10 * SENTENCES)):
        bias = (classes - 1) * (values - 1) / (2 * frames) / np.log(values)
        assert share < 2 * bias + 0.005


def test_a_corpus_is_compared_with_itself() -> None:
    """Classes that are corpora know neither the speakers nor the labels within one."""
    both = corpus("a") + corpus("b")
    quality = measure(by([int(each.corpus == "b") for each in both], 2), both)
    expected = Quality(used=1, perplexity=1, corpus=1, speaker=0, emotion=0, content=0)
    assert quality.model_dump() == pytest.approx(expected.model_dump(), abs=1e-9)


def test_sentences_of_one_speaker_are_no_content() -> None:
    """Or knowing who speaks would be knowing what is said."""
    alone = [
        Utterance(Path("a.wav"), "read", f"read-{row}", "neutral", sentence=f"{row}" if row < 4 else None)
        for row in range(6)
    ]
    classes = by([int(each.speaker[-1]) for each in alone], 6)
    assert measure(classes, alone).content == 0
    assert measure(Made(6, classes.rows + by([0] * len(UTTERANCES), 6).rows), alone + UTTERANCES).content == 0


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 15)), min_size=1, max_size=12))
def test_the_share_is_information_over_entropy(utterances: list[tuple[int, int, int]]) -> None:
    known = [Utterance(Path("a.wav"), "tiny", f"tiny-{speaker}", "neutral") for speaker, _, _ in utterances]
    rows = [np.arange(length) % (value + 1) for _, value, length in utterances]
    frames = np.concatenate(rows)
    if not len(frames):
        return
    speakers = np.concatenate([np.full(length, speaker) for speaker, _, length in utterances])
    entropy = mutual_info_score(speakers, speakers)
    expected = mutual_info_score(speakers, frames) / entropy if entropy > 1e-9 else 0
    quality = measure(Made(5, rows), known)
    assert quality.speaker == pytest.approx(expected, abs=1e-9)
    assert 0 < quality.perplexity <= quality.used <= 1
