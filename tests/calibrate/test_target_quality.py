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
    expected = Quality(used=1, perplexity=1, corpus=0, speaker=1, emotion=0, sentence=0, tenth=0)
    assert quality.model_dump() == pytest.approx(expected.model_dump(), abs=1e-9)


def test_classes_that_are_the_emotion() -> None:
    quality = measure(by([EMOTIONS.index(each.emotion) for each in UTTERANCES], 4), UTTERANCES)
    expected = Quality(used=0.5, perplexity=0.5, corpus=0, speaker=0, emotion=1, sentence=0, tenth=0)
    assert quality.model_dump() == pytest.approx(expected.model_dump(), abs=1e-9)


def test_classes_that_are_what_is_said() -> None:
    """However long an utterance is."""
    rows = [
        int(each.sentence or 0) * 10 + np.arange(length) * 10 // length
        for each, length in zip(UTTERANCES, range(10, 34), strict=True)
    ]
    quality = measure(Made(40, rows), UTTERANCES)
    assert (quality.sentence, quality.tenth) == (pytest.approx(1), pytest.approx(1))
    assert quality.perplexity > 0.98


def test_classes_of_time_know_no_sentence() -> None:
    quality = measure(Made(10, [np.arange(30) * 10 // 30 for _ in UTTERANCES]), UTTERANCES)
    expected = Quality(used=1, perplexity=1, corpus=0, speaker=0, emotion=0, sentence=0, tenth=1)
    assert quality.model_dump() == pytest.approx(expected.model_dump(), abs=1e-9)


def test_one_class_says_nothing() -> None:
    quality = measure(by([0] * len(UTTERANCES), 10), UTTERANCES)
    expected = Quality(used=0.1, perplexity=0.1, corpus=0, speaker=0, emotion=0, sentence=0, tenth=0)
    assert quality.model_dump() == pytest.approx(expected.model_dump(), abs=1e-9)


@settings(max_examples=10)
@given(seed=st.integers(0, 1_000), classes=st.integers(2, 300), frames=st.integers(50, 200))
def test_random_classes_say_nothing_however_many_they_are(seed: int, classes: int, frames: int) -> None:
    random = np.random.default_rng(seed)
    quality = measure(Made(classes, [random.integers(classes, size=frames) for _ in UTTERANCES]), UTTERANCES)
    assert quality.used > 0.9
    assert max(quality.speaker, quality.emotion, quality.sentence) < 0.1


def test_a_corpus_is_compared_with_itself() -> None:
    """Classes that are corpora know neither the speakers nor the labels within one."""
    both = corpus("a") + corpus("b")
    quality = measure(by([int(each.corpus == "b") for each in both], 2), both)
    expected = Quality(used=1, perplexity=1, corpus=1, speaker=0, emotion=0, sentence=0, tenth=0)
    assert quality.model_dump() == pytest.approx(expected.model_dump(), abs=1e-9)


def test_sentences_of_one_speaker_do_not_count() -> None:
    """Or knowing who speaks would be knowing what is said."""
    alone = [
        Utterance(Path("a.wav"), "read", f"read-{row}", "neutral", sentence=f"{row}" if row < 4 else None)
        for row in range(6)
    ]
    classes = by([int(each.speaker[-1]) for each in alone], 6)
    assert measure(classes, alone).sentence == 0
    assert measure(Made(6, classes.rows + by([0] * len(UTTERANCES), 6).rows), alone + UTTERANCES).sentence == 0


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 15)), min_size=1, max_size=12))
def test_shares_are_shares(utterances: list[tuple[int, int, int]]) -> None:
    """Of any few utterances, some of them without frames; what one corpus knows is 0."""
    known = [Utterance(Path("a.wav"), "tiny", f"tiny-{speaker}", "neutral") for speaker, _, _ in utterances]
    rows = [np.arange(length) % (value + 1) for _, value, length in utterances]
    frames = np.concatenate(rows)
    if not len(frames):
        return
    quality = measure(Made(5, rows), known)
    assert 0 < quality.perplexity <= quality.used + 1e-9 <= 1 + 1e-9
    assert (quality.corpus, quality.emotion, quality.sentence) == (0, 0, 0)
    assert quality.speaker <= 1 + 1e-9
    tenths = np.concatenate([np.arange(length) * 10 // max(length, 1) for _, _, length in utterances])
    entropy = mutual_info_score(tenths, tenths)
    expected = mutual_info_score(tenths, frames) / entropy if entropy > 1e-9 else 0
    assert quality.tenth == pytest.approx(expected, abs=1e-9)
