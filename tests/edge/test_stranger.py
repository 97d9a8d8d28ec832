from pathlib import Path

import numpy as np
import pytest

from edge.adapt import VoiceProfile
from edge.bundle import Bundle
from edge.people.conversation import Conversation, Recognition
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


def take(stranger: StrangerMemory, encoding: Encoding, pause_s: float) -> VoiceProfile | None:
    """Return what is known of a stranger before an utterance, which they are then known by."""
    profile = stranger.voice_profile(encoding, pause_s, NO_ROOM)
    stranger.follow(encoding, pause_s)
    return profile


def recognized(conversation: Conversation, encoding: Encoding, start_s: float) -> Recognition:
    recognition = conversation.recognize(encoding, start_s, start_s + 2)
    conversation.follow(recognition)
    return recognition


def test_a_guest_is_known_from_the_second_utterance_on(recognizer: Recognizer) -> None:
    stranger = StrangerMemory(recognizer.bundle, forget_s=60)
    assert take(stranger, encode(recognizer, anna), 0.0) is None
    profiles = [take(stranger, encode(recognizer, anna, seed), 1.0) for seed in range(1, MOST_UTTERANCES + 5)]
    counts = [profile.clips for profile in profiles if profile]
    assert counts == [min(count, MOST_UTTERANCES) for count in range(1, MOST_UTTERANCES + 5)]


def test_another_voice_or_a_long_pause_is_another_guest(recognizer: Recognizer) -> None:
    stranger = StrangerMemory(recognizer.bundle, forget_s=60)
    take(stranger, encode(recognizer, anna), 0.0)
    assert take(stranger, encode(recognizer, ben), 1.0) is None
    assert take(stranger, encode(recognizer, ben, 2), 1.0) is not None
    assert take(stranger, encode(recognizer, ben, 3), 61.0) is None
    stranger.reset()
    assert take(stranger, encode(recognizer, ben, 3), 1.0) is None


def test_an_answer_that_is_withdrawn_changes_nothing(recognizer: Recognizer, tmp_path: Path) -> None:
    enrol(tmp_path, recognizer.bundle, "Anna", anna)
    household = Household(recognizer.bundle, SpeakerSettings(store=str(tmp_path), adapt_strangers=True))
    household.load()
    plain, hasty = Conversation(household), Conversation(household)
    for seed, voice in enumerate((cem, anna, cem, cem, anna)):
        encoding = encode(recognizer, voice, seed)
        for other in (anna, cem, ben):
            hasty.recognize(encode(recognizer, other, seed + 20), 3.0 * seed, 3.0 * seed + 1)
        said, again = (recognized(each, encoding, 3.0 * seed) for each in (plain, hasty))
        assert (said.scores, said.speaker, said.adapted) == (again.scores, again.speaker, again.adapted)


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
        recognized(conversation, encode(recognizer, voice, seed), 3.0 * seed)
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
        recognized(conversation, encode(recognizer, voice, seed), 3.0 * seed).adapted
        for seed, voice in enumerate((cem, cem, anna, anna))
    ]
    assert adapted == [False, True, False, True]
