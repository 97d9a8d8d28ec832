from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edge.room
from edge.adapt import VoiceProfile, adapted_probabilities
from edge.arrays import Matrix
from edge.bundle import Bundle
from edge.head import SpeechCheck
from edge.people.conversation import Conversation, Recognition
from edge.people.household import Household
from edge.people.store import SpeakerStore
from edge.people.voice_profiles import to_stored, voice_profile_of
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings, RoomSettings, SpeakerSettings
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

    @property
    def offset(self) -> Matrix:
        assert self.conversation.room
        return self.conversation.room.offset()

    def hear(self, voice: Voice, seed: int = 50, level: float = USUAL, duration_s: float = 2.0) -> Recognition:
        (encoding,) = self.recognizer.encode([level * voice(duration_s, seed)], self.household.recognises)
        start_s, self.now_s = self.now_s + 1, self.now_s + 1 + duration_s
        heard = self.conversation.recognize(encoding, start_s, self.now_s)
        self.conversation.follow(heard)
        return heard


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


def test_a_persons_change_is_against_their_own_usual(recognizer: Recognizer, folder: Path) -> None:
    room = Room(recognizer, folder)
    assert room.hear(cem).relative == {}
    usual = [room.hear(anna, seed, LOUD).relative for seed in range(8)]
    louder = room.hear(anna, 0, 2.5 * LOUD).relative
    assert set(louder) == set(recognizer.bundle.manifest.labels)
    for label in louder:
        assert np.mean([each[label] for each in usual]) == pytest.approx(0, abs=0.8)
    assert louder["angry"] > max(each["angry"] for each in usual) + 1
    assert louder["neutral"] < np.mean([each["neutral"] for each in usual])


def test_someone_with_a_profile_but_no_clips_has_no_usual(recognizer: Recognizer, folder: Path) -> None:
    room = Room(recognizer, folder, only="Anna")
    anna_ = room.household.members["Anna"]
    room.household.members["Anna"] = replace(anna_, usual=None)
    heard = room.hear(anna)
    assert heard.speaker
    assert heard.relative == {}


def test_how_often_someone_shows_a_label_counts_as_far_as_it_is_believed(recognizer: Recognizer, folder: Path) -> None:
    bundle = recognizer.bundle
    with SpeakerStore.open(folder) as store:
        person = store.person("Anna")
        found = voice_profile_of(store, person, bundle)
        assert found is not None
        calm = replace(found, label_prior=np.array([0.8, 0.1, 0.1], np.float32))
        store.save_voice_profile(person, to_stored(calm, bundle, "test"))
    scores = [Room(recognizer, folder, label_prior=power).hear(anna, 0, LOUD).scores for power in (0, 0.5, 1)]
    assert scores[0]["neutral"] < scores[1]["neutral"] < scores[2]["neutral"]
    odds = [each["neutral"] / each["happy"] for each in scores]
    head_prior = bundle.population.head_prior
    assert odds[2] / odds[0] == pytest.approx(8 * head_prior[1] / head_prior[0], rel=0.1)
    stranger = [Room(recognizer, folder, label_prior=power).hear(cem).scores for power in (0, 1)]
    assert stranger[0] == stranger[1]


def test_a_change_is_against_the_usual_whatever_the_label_prior(recognizer: Recognizer, folder: Path) -> None:
    changes = [Room(recognizer, folder, label_prior=power).hear(anna, 0, LOUD).relative for power in (0, 1)]
    for label, change in changes[0].items():
        assert changes[1][label] == pytest.approx(change, abs=0.3)


def deaf_to_speech(recognizer: Recognizer) -> Recognizer:
    """Return a recogniser whose bundle takes loud sounds for no speech: the embedding starts with the mean of |x|."""
    speech = SpeechCheck(np.array([-1e4, 0, 0], np.float32), 1e3)
    changed = copy(recognizer)
    changed.bundle = replace(recognizer.bundle, head=replace(recognizer.bundle.head, speech=speech))
    return changed


def test_nothing_is_learnt_from_what_is_no_speech(recognizer: Recognizer, folder: Path) -> None:
    assert Room(recognizer, folder).hear(cem).speech is None
    room = Room(deaf_to_speech(recognizer), folder, adapt_strangers=True)
    room.hear(anna)
    before = room.hear(anna, seed=51)
    cough = room.hear(cem, level=4.0)
    assert (before.is_speech, cough.is_speech) == (True, False)
    assert before.speech is not None
    assert cough.speech is not None
    assert cough.speech < 0.5 < before.speech
    after = room.conversation.recognize(before.encoding, room.now_s + 1, room.now_s + 3)
    without = Room(deaf_to_speech(recognizer), folder, adapt_strangers=True)
    without.hear(anna)
    without.hear(anna, seed=51)
    alone = without.conversation.recognize(before.encoding, room.now_s + 1, room.now_s + 3)
    assert after.speaker == alone.speaker
    assert after.scores == alone.scores
    assert after.pause_s == alone.pause_s


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


class Known(Room):
    """A room of which everything is known."""

    def __init__(self, recognizer: Recognizer, folder: Path, offset: Matrix, share: float = 1.0) -> None:
        super().__init__(recognizer, folder)
        self.conversation.room = known_room(recognizer.bundle, offset, share)


def known_room(bundle: Bundle, mean: Matrix, share: float) -> edge.room.Room:
    """Return a room with that mean and about that share; rooms of the tiny bundle differ in the mean square."""
    population = replace(bundle.population, contrast=np.array([[0, 1_000, 0]], np.float32))
    room = edge.room.Room(population, RoomSettings(pseudo_utterances=10, window=10_000, label_shift=0))
    for number in range(round(10 * share / (1.0001 - share)) if share < 1 else 5_000):
        room.update(population.mean + mean, np.eye(3, dtype=np.float32)[number % 3])
    return room


LOUDER = np.array([0.03, 0.004, 0], np.float32)


def test_a_strangers_room_is_taken_out(recognizer: Recognizer, folder: Path) -> None:
    heard = Known(recognizer, folder, LOUDER).hear(cem)
    assert heard.speaker is None
    assert not heard.adapted
    assert heard.room == pytest.approx(1, abs=0.01)
    moved = heard.encoding.embedding - LOUDER
    expected = recognizer.bundle.head.probabilities(moved[None])[0]
    assert heard.probabilities == pytest.approx(expected, abs=0.01)
    assert heard.without_person is heard.encoding.embedding
    assert Room(recognizer, folder).hear(cem).room == 0


def test_a_persons_offset_lies_between_the_rooms_and_their_own(recognizer: Recognizer, folder: Path) -> None:
    room = Room(recognizer, folder, only="Anna")
    room.conversation.room = known_room(recognizer.bundle, LOUDER, 0.9)
    profile = room.household.voice_profile("Anna")
    assert profile is not None
    assert profile.share == 0.5
    heard = room.hear(anna)
    assert (heard.moved, heard.adapted) == (False, True)
    assert heard.room == pytest.approx(0.9 * 0.5, abs=0.01)
    moved = heard.encoding.embedding - (profile.centre + room.offset) / 2
    assert heard.probabilities == pytest.approx(recognizer.bundle.head.probabilities(moved[None])[0], abs=1e-5)


@pytest.mark.parametrize("clips", [1, 12, 48])
def test_someone_alone_in_a_room_is_not_counted_twice(recognizer: Recognizer, folder: Path, clips: int) -> None:
    """Nothing is known of the room but that they speak there; whatever part is theirs, it is taken out once."""
    room = Room(recognizer, folder, only="Anna")
    member = room.household.members["Anna"]
    assert member.voice_profile is not None
    profile = replace(member.voice_profile, clips=clips)
    room.household.members["Anna"] = replace(member, voice_profile=profile)
    room.conversation.room = known_room(recognizer.bundle, profile.centre, 1.0)
    heard = room.hear(anna)
    expected = recognizer.bundle.head.probabilities((heard.encoding.embedding - profile.centre)[None])[0]
    assert heard.probabilities == pytest.approx(expected, abs=0.01)


def enrolled_in(folder: Path, bundle: Bundle, room: edge.room.Room | None) -> VoiceProfile:
    """Record the room that Anna was enrolled in, if it is known."""
    with SpeakerStore.open(folder) as store:
        person = store.person("Anna")
        found = voice_profile_of(store, person, bundle)
        assert found is not None
        profile = replace(found, room=room.mean if room else None)
        store.save_voice_profile(person, to_stored(profile, bundle, "test"))
        assert voice_profile_of(store, person, bundle) is not None
        return profile


def test_who_was_enrolled_in_one_room_is_adapted_to_in_another(recognizer: Recognizer, folder: Path) -> None:
    bundle = recognizer.bundle
    desk, car = known_room(bundle, np.zeros(3, np.float32), 0.9), known_room(bundle, LOUDER, 0.9)
    profile = enrolled_in(folder, bundle, desk)
    room = Room(recognizer, folder, only="Anna")
    room.conversation.room = desk
    at_the_desk = room.hear(anna)
    assert not at_the_desk.moved
    assert at_the_desk.room == pytest.approx(desk.share * (1 - profile.share))
    room.conversation.room = car
    in_the_car = room.hear(anna)
    assert in_the_car.moved
    assert in_the_car.room == pytest.approx(profile.share + car.share * (1 - profile.share))
    moved = profile.moved_to(car)
    assert moved is not None
    assert moved.centre - profile.centre == pytest.approx(car.mean - desk.mean, abs=1e-6)
    without = in_the_car.encoding.embedding - moved.offset(car.offset())
    assert in_the_car.probabilities == pytest.approx(bundle.head.probabilities(without[None])[0], abs=1e-5)
    own = profile.own
    assert own is not None
    assert in_the_car.encoding.embedding - in_the_car.without_person == pytest.approx(own, abs=1e-6)


@pytest.mark.parametrize("known", [True, False])
def test_a_room_alone_with_someone_is_theirs_only_once(recognizer: Recognizer, folder: Path, known: bool) -> None:
    """Anna alone in the car, for long: her profile there tends to what enrolling there would have given."""
    bundle, desk = recognizer.bundle, np.zeros(3, np.float32)
    profile = enrolled_in(folder, bundle, known_room(bundle, desk, 0.9) if known else None)
    room = Room(recognizer, folder, only="Anna")
    room.conversation.room = car = known_room(bundle, LOUDER, 0.5)
    for seed in range(40):
        heard = room.hear(anna, seed)
        car.update(heard.without_person, heard.probabilities)
    own = profile.own
    assert (own is not None) == known
    assert heard.moved == (known and car.differs_from(desk))
    spoken = heard.encoding.embedding - bundle.population.mean
    assert car.mean[0] == pytest.approx(spoken[0] - (0 if own is None else own[0]), abs=0.02)


def test_strangers_are_adapted_to_on_top_of_the_room(recognizer: Recognizer, folder: Path) -> None:
    room = Room(recognizer, folder, adapt_strangers=True, enabled=False)
    room.conversation.room = known_room(recognizer.bundle, LOUDER, 1.0)
    plain = Room(recognizer, folder, adapt_strangers=True, enabled=False)
    for seed in range(8):
        in_room, without = room.hear(cem, seed), plain.hear(cem, seed)
    assert in_room.adapted
    clips = np.stack([recognizer.encode([cem(2.0, seed)])[0].embedding for seed in range(7)])
    bundle = recognizer.bundle
    expected = VoiceProfile.estimate(bundle.population, bundle.head, clips, room=room.offset)
    assert in_room.room == pytest.approx(1 - expected.share, abs=0.01)
    assert without.room == 0
    shares = adapted_probabilities(bundle.head, in_room.encoding.embedding[None], expected.offset(room.offset))
    assert in_room.probabilities == pytest.approx(shares[0], abs=1e-4)
