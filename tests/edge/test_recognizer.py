import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle import Bundle
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings


@pytest.fixture(scope="module")
def recognizer(bundle: Bundle) -> Recognizer:
    recognizer = Recognizer(bundle, EncoderSettings(max_batch=2))
    recognizer.load()
    return recognizer


def tone(samples: int, level: float) -> np.ndarray:
    return np.full(samples, level, np.float32)


def test_loudness_is_emotion_to_the_tiny_bundle(recognizer: Recognizer) -> None:
    quiet, medium, loud = recognizer.recognize([tone(8000, level) for level in (0.0, 0.06, 0.3)])
    assert [recognition.emotion for recognition in (quiet, medium, loud)] == ["neutral", "happy", "angry"]
    assert list(quiet.scores) == ["neutral", "happy", "angry"]
    assert quiet.confidence == quiet.scores["neutral"] == max(quiet.scores.values())
    assert sum(medium.scores.values()) == pytest.approx(1)
    assert medium.embedding == pytest.approx([0.06, 0.0036, 1.0], rel=1e-3)
    assert quiet.bucket_s == 1.0


@given(st.lists(st.tuples(st.integers(1, 200_000), st.sampled_from([0.0, 0.06, 0.3])), max_size=6))
@settings(max_examples=30, deadline=None)
def test_company_changes_nothing(recognizer: Recognizer, utterances: list[tuple[int, float]]) -> None:
    recognitions = recognizer.recognize([tone(*utterance) for utterance in utterances])
    assert len(recognitions) == len(utterances)
    for (samples, level), recognition in zip(utterances, recognitions, strict=True):
        assert recognition.embedding == pytest.approx([level, level**2, 1], rel=1e-3, abs=1e-6)
        assert recognition.bucket_s == next((bucket for bucket in (1, 2, 4) if samples <= bucket * 16_000), 4)
        assert recognition.encoder_ms > 0
        assert recognition.head_ms > 0


def test_speech_beyond_the_longest_bucket_is_the_mean_of_its_parts(recognizer: Recognizer) -> None:
    halves = np.concatenate([tone(40_000, 0.0), tone(40_000, 0.3)])
    (recognition,) = recognizer.recognize([halves])
    assert recognition.embedding == pytest.approx([0.15, 0.045, 1], rel=1e-3)
    assert recognition.bucket_s == 4.0
