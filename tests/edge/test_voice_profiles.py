from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.adapt import VoiceProfile
from edge.bundle import Bundle
from edge.errors import ModelError
from edge.people.enrolment import Enrolment
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent, Person, StoredProfile
from edge.people.voice_profiles import from_stored, to_stored, voice_profile_of
from edge.recognizer import Recognizer
from edge.room import Room
from edge.segmenter import Segment
from edge.settings import EncoderSettings, RoomSettings
from helpers.signals import speech_like


@pytest.fixture
def voice_profile(bundle: Bundle) -> VoiceProfile:
    return VoiceProfile.estimate(bundle.population, np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32))


def test_the_store_keeps_a_voice_profile(voice_profile: VoiceProfile, bundle: Bundle) -> None:
    kept = to_stored(voice_profile, bundle, "enrolled 8 clips")
    read = StoredProfile.model_validate_json(kept.model_dump_json())
    again = from_stored(read)
    assert (read.encoder_hash, read.reason) == (bundle.encoder_hash, "enrolled 8 clips")
    assert (again.clips, again.mixed) == (voice_profile.clips, voice_profile.mixed)
    assert np.array_equal(again.offset, voice_profile.offset)
    assert np.array_equal(again.label_prior, voice_profile.label_prior)


def test_the_room_of_the_enrolment_is_kept_with_it(voice_profile: VoiceProfile, bundle: Bundle) -> None:
    room = np.array([0.01, 0.002, 0], np.float32)
    known = replace(voice_profile, room=room, room_share=0.75)
    read = from_stored(StoredProfile.model_validate_json(to_stored(known, bundle, "x").model_dump_json()))
    assert read.room is not None
    assert np.array_equal(read.room, room)
    assert read.room_share == 0.75
    assert read.own == pytest.approx(voice_profile.offset - voice_profile.share * room)
    assert replace(known, room_share=0.3).own is None


def test_a_profile_of_an_earlier_version_has_no_room(voice_profile: VoiceProfile, bundle: Bundle) -> None:
    stored = to_stored(voice_profile, bundle, "enrolled")
    facts = {name: fact for name, fact in stored.facts.items() if name != "room_share"}
    earlier = from_stored(stored.model_copy(update={"facts": facts}))
    assert (earlier.room, earlier.room_share, earlier.own) == (None, 0, None)


@pytest.mark.parametrize("later", ["same room", "other room", "unknown"])
def test_clips_of_several_rooms_are_from_none(tmp_path: Path, bundle: Bundle, later: str) -> None:
    worldly = replace(
        bundle, population=replace(bundle.population, offsets=np.array([[0, 0.001, 0], [0, -0.001, 0]], np.float32))
    )

    def room(mean: float) -> Room:
        found = Room(worldly.population, RoomSettings(label_shift=0))
        for _ in range(30):
            found.update(worldly.population.mean + np.array([0, mean, 0], np.float32), np.full(3, 1 / 3, np.float32))
        return found

    recognizer = Recognizer(worldly, EncoderSettings())
    recognizer.load(voiceprints=True)
    consent = Consent(text_version="1", how="--yes")
    with SpeakerStore.open(tmp_path) as store:
        person = Person(name="Anna", consent=consent)
        rooms = {"same room": room(0.0001), "other room": room(0.01), "unknown": None}
        for seed, here in enumerate((room(0.0), rooms[later])):
            enrolment = Enrolment(store, recognizer, person, is_new=not seed)
            assert enrolment.take(Segment(speech_like(1.5, seed), 0.0, 1.5, 2.0), "here").fault is None
            enrolment.finish(here)
            person = enrolment.person
        profile = voice_profile_of(store, person, worldly)
    assert profile is not None
    assert (profile.room is not None) == (later == "same room")


def test_a_large_voice_profile_takes_less_than_48_kb(bundle: Bundle) -> None:
    large = VoiceProfile(np.zeros(4096, np.float32), np.zeros(16, np.float32), 8, 1.0)
    assert sum(tensor.nbytes for tensor in to_stored(large, bundle, "enrolled").tensors.values()) < 48 * 1024


@pytest.mark.parametrize("damage", [{"clips": "many"}, {"clips": None}])
def test_a_foreign_profile_is_refused(voice_profile: VoiceProfile, bundle: Bundle, damage: dict[str, object]) -> None:
    stored = to_stored(voice_profile, bundle, "enrolled")
    with pytest.raises(ModelError, match="enrol again"):
        from_stored(stored.model_copy(update={"facts": stored.facts | damage}))
    with pytest.raises(ModelError, match="'offset'"):
        from_stored(stored.model_copy(update={"tensors": {}}))
