from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.adapt import VoiceProfile
from edge.bundle import Bundle
from edge.errors import ModelError
from edge.people.enrolment import Enrolment
from edge.people.household import Household
from edge.people.roster import dossier_of
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent, Person, StoredProfile
from edge.people.voice_profiles import (
    clips_for,
    estimate_voice_profile,
    from_stored,
    to_stored,
    voice_profile_of,
)
from edge.recognizer import Recognizer
from edge.room import Room
from edge.segment import Segment
from edge.settings import EncoderSettings, RoomSettings, SpeakerSettings
from helpers.household import anna, enrol
from helpers.signals import speech_like


@pytest.fixture
def voice_profile(bundle: Bundle) -> VoiceProfile:
    return VoiceProfile.estimate(
        bundle.population, bundle.head, np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    )


def test_the_store_keeps_a_voice_profile(voice_profile: VoiceProfile, bundle: Bundle) -> None:
    kept = to_stored(voice_profile, bundle, "enrolled 8 clips")
    read = StoredProfile.model_validate_json(kept.model_dump_json())
    again = from_stored(read)
    assert (read.encoder_hash, read.reason) == (bundle.encoder_hash, "enrolled 8 clips")
    assert (again.clips, again.room) == (voice_profile.clips, None)
    assert np.array_equal(again.centre, voice_profile.centre)
    assert np.array_equal(again.label_prior, voice_profile.label_prior)


def test_the_room_of_the_enrolment_is_kept_with_it(voice_profile: VoiceProfile, bundle: Bundle) -> None:
    room = np.array([0.01, 0.002, 0], np.float32)
    known = replace(voice_profile, room=room)
    read = from_stored(StoredProfile.model_validate_json(to_stored(known, bundle, "x").model_dump_json()))
    assert read.room is not None
    assert np.array_equal(read.room, room)
    assert read.own == pytest.approx(voice_profile.share * (voice_profile.centre - room))


@pytest.fixture
def earlier(voice_profile: VoiceProfile, bundle: Bundle) -> StoredProfile:
    """What earlier versions kept of a person."""
    tensors = {"offset": voice_profile.offset(), "label_prior": voice_profile.label_prior}
    facts = {"clips": 4, "mixed": 0.9}
    return to_stored(voice_profile, bundle, "enrolled 4 clips").model_copy(update={"tensors": tensors, "facts": facts})


def test_a_profile_of_an_earlier_version_is_estimated_anew(
    tmp_path: Path, bundle: Bundle, earlier: StoredProfile
) -> None:
    person = enrol(tmp_path, bundle, "Anna", anna)
    with SpeakerStore.open(tmp_path) as store:
        expected = estimate_voice_profile(bundle, clips_for(store, person, bundle))
        store.save_voice_profile(person, earlier)
        found = voice_profile_of(store, person, bundle)
        dossier = dossier_of(store, person, bundle)
    assert found is not None
    assert (found.clips, found.room) == (4, None)
    assert np.array_equal(found.centre, expected.centre)
    assert dossier.trust == found.share
    household = Household(bundle, SpeakerSettings(store=str(tmp_path)))
    household.load()
    assert household.unknown() == {}


def test_one_without_its_clips_must_enrol_again(tmp_path: Path, bundle: Bundle, earlier: StoredProfile) -> None:
    with SpeakerStore.open(tmp_path) as store:
        person = store.add_person("Anna", Consent(text_version="1", how="--yes"))
        store.save_voice_profile(person, earlier)
        with pytest.raises(ModelError, match=r"not one of this version: KeyError\('centre'\); enrol again"):
            voice_profile_of(store, person, bundle)
    household = Household(bundle, SpeakerSettings(store=str(tmp_path)))
    household.load()
    assert household.unknown() == {"Anna": "must enrol again with this bundle"}


def test_the_room_is_taken_into_account_at_its_enrolment(tmp_path: Path, bundle: Bundle) -> None:
    """The clips are answered to as in that room, as far as it is trusted."""
    room = Room(bundle.population, RoomSettings(label_shift=0))
    for label in range(60):
        room.update(np.array([0.11, 0.02, 1], np.float32), np.eye(3, dtype=np.float32)[label % 3])
    recognizer = Recognizer(bundle, EncoderSettings())
    recognizer.load(voiceprints=True)
    with SpeakerStore.open(tmp_path) as store:
        person = Person(name="Anna", consent=Consent(text_version="1", how="--yes"))
        enrolment = Enrolment(store, recognizer, person, is_new=True)
        for seed in range(3):
            assert enrolment.take(Segment(anna(1.5, seed), 0.0, 1.5, 2.0), "here").fault is None
        enrolment.finish(room)
        clips = clips_for(store, enrolment.person, bundle)
        found = voice_profile_of(store, enrolment.person, bundle)
    assert found is not None
    assert found.room == pytest.approx(room.mean)
    assert found.centre == pytest.approx(estimate_voice_profile(bundle, clips, room.offset()).centre)
    assert found.centre != pytest.approx(estimate_voice_profile(bundle, clips).centre)


@pytest.mark.parametrize("later", ["same room", "other room", "unknown"])
def test_clips_of_several_rooms_are_from_none(tmp_path: Path, bundle: Bundle, later: str) -> None:
    worldly = replace(bundle, population=replace(bundle.population, contrast=np.array([[0, 1_000, 0]], np.float32)))

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
    large = VoiceProfile(np.zeros(4096, np.float32), np.zeros(16, np.float32), 8, np.zeros(4096, np.float32))
    assert sum(tensor.nbytes for tensor in to_stored(large, bundle, "enrolled").tensors.values()) < 48 * 1024


@pytest.mark.parametrize("damage", [{"clips": "many"}, {"clips": None}])
def test_a_foreign_profile_is_refused(voice_profile: VoiceProfile, bundle: Bundle, damage: dict[str, object]) -> None:
    stored = to_stored(voice_profile, bundle, "enrolled")
    with pytest.raises(ModelError, match="enrol again"):
        from_stored(stored.model_copy(update={"facts": stored.facts | damage}))
    with pytest.raises(ModelError, match="'centre'"):
        from_stored(stored.model_copy(update={"tensors": {}}))


def test_what_earlier_versions_took_for_a_label_prior_is_none(voice_profile: VoiceProfile, bundle: Bundle) -> None:
    stored = to_stored(voice_profile, bundle, "test")
    prior = np.array([0.8, 0.1, 0.1], np.float32)
    earlier = stored.model_copy(update={"tensors": {"centre": voice_profile.centre, "label_prior": prior}})
    assert from_stored(earlier).label_prior is None
