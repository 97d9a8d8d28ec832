from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calibrate.corpora import Utterance
from calibrate.dataset import Part, read_parts
from calibrate.evaluate import by_corpus, evaluate_bundle, evaluate_run
from calibrate.recipe import Recipe
from calibrate.run import build_run
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from edge.errors import AudioFileError
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings

LABELS = ("neutral", "happy", "angry")

Clip = Callable[[Path, Waveform], Path]


@pytest.fixture
def recognizer(bundle: Bundle) -> Recognizer:
    """Hears loudness: quiet neutral, medium happy, loud angry."""
    recognizer = Recognizer(bundle, EncoderSettings(threads=1))
    recognizer.load()
    return recognizer


@pytest.fixture
def loud(tmp_path: Path, clip: Clip) -> Part:
    """100 clips in two corpora: every level named rightly in the first, angry called happy in the second."""
    utterances, labels = [], []
    for row in range(100):
        label = row % 3
        length_s = 0.2 + 0.01 * (row * 7 % 40)
        square = np.where(np.arange(round(length_s * SAMPLE_RATE_HZ)) // 20 % 2, 1, -1)
        waveform = ((0.001, 0.05, 0.5)[label] * square).astype(np.float32)
        corpus = "second" if row % 2 else "first"
        path = clip(tmp_path / f"{row}.wav", waveform)
        utterances.append(Utterance(path, corpus, f"{corpus}-{row % 4}", LABELS[label]))
        labels.append(1 if corpus == "second" and label == 2 else label)
    return Part(utterances, np.array(labels, np.int64))


def test_a_bundle_is_judged_by_its_own_answers_in_file_order(recognizer: Recognizer, loud: Part) -> None:
    result = evaluate_bundle(recognizer, loud)
    assert list(result) == ["first", "second"]
    assert (result["first"].utterances, result["first"].speakers) == (50, 2)
    assert (result["first"].ua, result["first"].wa) == (1.0, 1.0)
    second = loud.corpora == "second"
    happy = second & (loud.labels == 1)
    truly_happy = np.array([utterance.emotion == "happy" for utterance in loud.utterances])[happy]
    assert result["second"].classes["happy"].recall == pytest.approx(truly_happy.mean())
    assert result["second"].confusion[1][2] == (~truly_happy).sum()
    assert "angry" not in result["second"].classes


def test_a_bundle_is_not_judged_without_a_file(recognizer: Recognizer, loud: Part) -> None:
    loud.paths[70].unlink()
    with pytest.raises(AudioFileError, match=r"70\.wav: no such file"):
        evaluate_bundle(recognizer, loud)


def test_a_run_is_judged_corpus_by_corpus(
    data: Path, recipe_of: Callable[..., Recipe], encoders: dict[str, Path], tmp_path: Path
) -> None:
    run = build_run(recipe_of(), str(encoders["whisper"]))
    result = evaluate_run(run, read_parts(recipe_of(), data)["test"], tmp_path)
    assert list(result) == ["ravdess", "office"]
    for figure in result.values():
        assert (figure.utterances, figure.speakers) == (6, 1)
        assert figure.ua == pytest.approx(1 / 3), "an untrained head has one answer"
        assert figure.ece == pytest.approx(0, abs=1e-6), "and says that it guesses"


def test_rows_of_a_corpus_need_not_lie_together() -> None:
    corpora = ["a", "b", "a", "b", "a"]
    part = Part(
        [Utterance(Path("x.wav"), corpus, f"{corpus}-1", "happy") for corpus in corpora], np.array([0, 1, 1, 2, 2])
    )
    result = by_corpus(part, np.eye(3, dtype=np.float32)[[0, 0, 1, 0, 0]], LABELS)
    assert {name: figure.ua for name, figure in result.items()} == {"a": pytest.approx(2 / 3), "b": 0.0}
