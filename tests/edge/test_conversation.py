from pathlib import Path

import pytest

from edge.bundle import Bundle
from edge.people.conversation import Conversation, Recognition
from edge.people.household import Household
from edge.people.store import SpeakerStore
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings, SpeakerSettings
from helpers.household import Voice, anna, ben, cem, enrol

LOUD, USUAL = 1.6, 1.0
"""What sounds happy of someone usual is neutral of Anna, who is loud."""


@pytest.fixture
def folder(tmp_path: Path, bundle: Bundle) -> Path:
    enrol(tmp_path, bundle, "Anna", anna, clips=12, level=LOUD)
    enrol(tmp_path, bundle, "Ben", ben)
    return tmp_path


@pytest.fixture
def recognizer(bundle: Bundle) -> Recognizer:
    recognizer = Recognizer(bundle, EncoderSettings())
    recognizer.load()
    return recognizer


class Room:
    """Someone speaks, and it is recognised."""

    def __init__(self, recognizer: Recognizer, folder: Path, **settings: object) -> None:
        self.recognizer, self.now_s = recognizer, 0.0
        found = SpeakerSettings.model_validate({"store": str(folder)} | settings)
        self.household = Household(recognizer.bundle, found)
        self.household.load()
        self.conversation = Conversation(self.household)

    def hear(self, voice: Voice, seed: int = 50, level: float = USUAL, duration_s: float = 2.0) -> Recognition:
        (encoding,) = self.recognizer.encode([level * voice(duration_s, seed)], self.household.recognises)
        start_s, self.now_s = self.now_s + 1, self.now_s + 1 + duration_s
        return self.conversation.recognize(encoding, start_s, self.now_s)


def test_people_are_named_and_adapted_to(recognizer: Recognizer, folder: Path) -> None:
    room = Room(recognizer, folder)
    for voice, name in ((anna, "Anna"), (ben, "Ben"), (cem, None), (anna, "Anna")):
        heard = room.hear(voice)
        assert (heard.speaker.name if heard.speaker else None) == name
        assert heard.adapted == (name is not None)
        assert sum(heard.scores.values()) == pytest.approx(1, abs=1e-5)
        assert all(value >= 0 for value in heard.latency_ms.values())
        if heard.speaker:
            assert 0.8 <= heard.speaker.score <= 1


def test_a_loud_person_sounds_calmer_to_who_knows_them(recognizer: Recognizer, folder: Path) -> None:
    known, unknown = Room(recognizer, folder), Room(recognizer, folder, enabled=False)
    for seed in range(20, 24):
        mine, theirs = known.hear(anna, seed, LOUD), unknown.hear(anna, seed, LOUD)
        assert mine.scores["angry"] < theirs.scores["angry"]
        assert theirs.speaker is None
        assert not theirs.adapted


def test_a_bound_source_is_adapted_to_without_voiceprints(recognizer: Recognizer, folder: Path) -> None:
    bound = Room(recognizer, folder, only="Anna")
    heard = bound.hear(cem)
    assert heard.encoding.voiceprint is None
    assert heard.speaker is not None
    assert (heard.speaker.name, heard.speaker.score, heard.adapted) == ("Anna", 1.0, True)


def test_who_is_forgotten_or_enrolled_meanwhile_is_noticed(recognizer: Recognizer, folder: Path) -> None:
    room = Room(recognizer, folder)
    assert room.hear(anna).adapted
    with SpeakerStore.open(folder) as store:
        store.forget("Anna")
    enrol(folder, recognizer.bundle, "Cem", cem)
    assert room.household.refresh()
    assert room.hear(anna).speaker is None
    found = room.hear(cem).speaker
    assert found is not None
    assert found.name == "Cem"


def test_another_conversation_starts_afresh(recognizer: Recognizer, folder: Path) -> None:
    room = Room(recognizer, folder, stay=0.9)
    room.hear(anna)
    first = room.hear(anna).speaker
    room.conversation.reset()
    again = room.hear(anna).speaker
    assert first is not None
    assert again is not None
    assert first.score >= again.score


def test_an_uncertain_voice_is_nobody_and_unadapted(recognizer: Recognizer, folder: Path) -> None:
    room = Room(recognizer, folder, threshold=1.0)
    heard = room.hear(cem)
    assert heard.speaker is None
    assert not heard.adapted
