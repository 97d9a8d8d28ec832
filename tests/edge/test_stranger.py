from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Bundle
from edge.people.conversation import Conversation
from edge.people.household import Household
from edge.people.stranger import MOST_UTTERANCES, StrangerMemory
from edge.recognizer import Encoding, Recognizer
from edge.settings import EncoderSettings, SpeakerSettings
from helpers.household import Voice, anna, ben, cem, enrol

NO_ROOM = np.zeros(3, np.float32)


@pytest.fixture
def recognizer(bundle: Bundle) -> Recognizer:
    recognizer = Recognizer(bundle, EncoderSettings())
    recognizer.load()
    return recognizer


def encode(recognizer: Recognizer, voice: Voice, seed: int = 0) -> Encoding:
    (encoding,) = recognizer.encode([voice(2.0, seed)], voiceprints=True)
    return encoding


def test_a_guest_is_known_from_the_second_utterance_on(recognizer: Recognizer) -> None:
    stranger = StrangerMemory(recognizer.bundle, forget_s=60)
    assert stranger.follow(encode(recognizer, anna), 0.0, NO_ROOM) is None
    profiles = [stranger.follow(encode(recognizer, anna, seed), 1.0, NO_ROOM) for seed in range(1, MOST_UTTERANCES + 5)]
    counts = [profile.clips for profile in profiles if profile]
    assert counts == [min(count, MOST_UTTERANCES) for count in range(1, MOST_UTTERANCES + 5)]


def test_another_voice_or_a_long_pause_is_another_guest(recognizer: Recognizer) -> None:
    stranger = StrangerMemory(recognizer.bundle, forget_s=60)
    stranger.follow(encode(recognizer, anna), 0.0, NO_ROOM)
    assert stranger.follow(encode(recognizer, ben), 1.0, NO_ROOM) is None
    assert stranger.follow(encode(recognizer, ben, 2), 1.0, NO_ROOM) is not None
    assert stranger.follow(encode(recognizer, ben, 3), 61.0, NO_ROOM) is None
    stranger.reset()
    assert stranger.follow(encode(recognizer, ben, 3), 1.0, NO_ROOM) is None


@pytest.mark.parametrize("wanted", [True, False])
def test_a_conversation_adapts_to_strangers_when_it_is_wanted(
    recognizer: Recognizer, tmp_path: Path, wanted: bool
) -> None:
    enrol(tmp_path, recognizer.bundle, "Anna", anna)
    settings = SpeakerSettings(store=str(tmp_path), adapt_strangers=wanted)
    household = Household(recognizer.bundle, settings)
    household.load()
    conversation = Conversation(household)
    heard = [
        conversation.recognize(encode(recognizer, voice, seed), 3.0 * seed, 3.0 * seed + 2)
        for seed, voice in enumerate((cem, cem, anna, cem))
    ]
    assert [one.speaker.name if one.speaker else None for one in heard] == [None, None, "Anna", None]
    assert [one.adapted for one in heard] == [False, wanted, True, wanted]


def test_nobody_enrolled_still_tells_strangers_apart(recognizer: Recognizer, tmp_path: Path) -> None:
    household = Household(recognizer.bundle, SpeakerSettings(store=str(tmp_path), adapt_strangers=True))
    household.load()
    assert household.wants_voiceprints
    conversation = Conversation(household)
    adapted = [
        conversation.recognize(encode(recognizer, voice, seed), 3.0 * seed, 3.0 * seed + 2).adapted
        for seed, voice in enumerate((cem, cem, anna, anna))
    ]
    assert adapted == [False, True, False, True]
