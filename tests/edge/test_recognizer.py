from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle import Bundle
from edge.errors import ModelError
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings
from helpers.signals import bright, deep, speech_like


@pytest.fixture(scope="module")
def recognizer(bundle: Bundle) -> Recognizer:
    recognizer = Recognizer(bundle, EncoderSettings(max_batch=2))
    recognizer.load()
    return recognizer


def tone(samples: int, level: float) -> np.ndarray:
    return np.full(samples, level, np.float32)


def test_loudness_is_emotion_to_the_tiny_bundle(recognizer: Recognizer) -> None:
    tones = [tone(8000, level) for level in (0.0, 0.06, 0.3)]
    shares = recognizer.probabilities(tones)
    assert shares.argmax(axis=1).tolist() == [0, 1, 2]
    assert shares.sum(axis=1) == pytest.approx(1)
    quiet, medium, _ = recognizer.encode(tones)
    assert medium.embedding == pytest.approx([0.06, 0.0036, 1.0], rel=1e-3)
    assert (quiet.bucket_s, quiet.duration_s) == (1.0, 0.5)
    assert recognizer.probabilities([]).shape == (0, 3)


@given(st.lists(st.tuples(st.integers(1, 200_000), st.sampled_from([0.0, 0.06, 0.3])), max_size=6))
@settings(max_examples=30, deadline=None)
def test_company_changes_nothing(recognizer: Recognizer, utterances: list[tuple[int, float]]) -> None:
    encodings = recognizer.encode([tone(*utterance) for utterance in utterances])
    assert len(encodings) == len(utterances)
    for (samples, level), encoding in zip(utterances, encodings, strict=True):
        assert encoding.embedding == pytest.approx([level, level**2, 1], rel=1e-3, abs=1e-6)
        assert encoding.bucket_s == next((bucket for bucket in (1, 2, 4) if samples <= bucket * 16_000), 4)
        assert encoding.encoder_ms > 0
        assert encoding.voiceprint is None
        assert encoding.speaker_ms == 0


def test_speech_beyond_the_longest_bucket_is_the_mean_of_its_parts(recognizer: Recognizer) -> None:
    halves = np.concatenate([tone(40_000, 0.0), tone(40_000, 0.3)])
    (encoding,) = recognizer.encode([halves])
    assert encoding.embedding == pytest.approx([0.15, 0.045, 1], rel=1e-3)
    assert encoding.bucket_s == 4.0


def test_voiceprints_are_made_when_they_are_wanted(bundle: Bundle) -> None:
    recognizer = Recognizer(bundle, EncoderSettings())
    recognizer.load()
    voice = speech_like(3.0)
    assert recognizer.speaker_encoder is None
    prints = [encoding.voiceprint for encoding in recognizer.encode([deep(voice), voice, bright(voice)] * 2, True)]
    likeness = np.stack(prints) @ np.stack(prints).T
    assert np.diag(likeness) == pytest.approx(1)
    assert likeness[0, 3] == pytest.approx(1)
    assert (likeness[[0, 0, 1], [1, 2, 2]] < 0.7).all()


def test_a_bundle_without_speaker_encoder_gives_no_voiceprints(bundle: Bundle) -> None:
    mute = replace(bundle, manifest=bundle.manifest.model_copy(update={"speaker": None}))
    with pytest.raises(ModelError, match="has no speaker encoder"):
        Recognizer(mute, EncoderSettings()).load(voiceprints=True)
