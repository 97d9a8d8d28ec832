from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.adapt import VoiceProfile
from edge.bundle import Bundle
from edge.errors import ModelError, StoreError
from edge.people.household import Household
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent, EnrolledClip, StoredProfile
from edge.people.voice_profiles import to_stored, voice_profile_of
from edge.settings import SpeakerSettings
from helpers.household import anna, ben, enrol
from helpers.voices import newest_profiles


def household(folder: Path, bundle: Bundle, can_gate: bool = False, **settings: object) -> Household:
    found = Household(bundle, SpeakerSettings.model_validate({"store": str(folder)} | settings), can_gate)
    found.load()
    return found


@pytest.fixture
def folder(tmp_path: Path, bundle: Bundle) -> Path:
    enrol(tmp_path, bundle, "Anna", anna)
    enrol(tmp_path, bundle, "Ben", ben)
    return tmp_path


def test_everyone_in_the_store_is_known(folder: Path, bundle: Bundle) -> None:
    known = household(folder, bundle)
    assert list(known.members) == ["Anna", "Ben"]
    assert known.recognises
    assert known.bound_to is None
    assert known.unknown() == {}
    assert str(known) == "knows Anna, Ben"
    assert known.identifier().names == ["Anna", "Ben"]


def test_an_interrupted_enrolment_counts(folder: Path, bundle: Bundle) -> None:
    with SpeakerStore.open(folder) as store:
        assert set(newest_profiles(store, bundle.encoder_hash).values()) == {None}
        profile = voice_profile_of(store, store.person("Anna"), bundle)
    assert profile is not None
    assert profile.clips == 4


def test_the_newest_profile_is_used(folder: Path, bundle: Bundle) -> None:
    profile = VoiceProfile.estimate(bundle.population, bundle.head, np.full((2, 3), 0.1, np.float32))
    known = household(folder, bundle)
    with SpeakerStore.open(folder) as store:
        store.save_voice_profile(store.person("Anna"), to_stored(profile, bundle, "enrolled"))
    assert known.refresh()
    found = known.voice_profile("Anna")
    assert found is not None
    assert found.clips == 2


def test_an_absent_store_is_nobody(tmp_path: Path, bundle: Bundle) -> None:
    nobody = household(tmp_path / "nothing", bundle)
    assert not nobody.members
    assert not nobody.recognises
    assert str(nobody) == "nobody enrolled"
    assert not (tmp_path / "nothing").exists()


def test_switched_off_it_reads_no_store(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "speakers.db").write_bytes(b"damaged")
    off = household(tmp_path, bundle, enabled=False)
    assert str(off) == "speakers off"
    assert not off.refresh()


def test_changes_are_followed(tmp_path: Path, bundle: Bundle) -> None:
    known = household(tmp_path, bundle)
    assert not known.refresh()
    enrol(tmp_path, bundle, "Anna", anna)
    assert known.refresh()
    assert list(known.members) == ["Anna"]
    assert not known.refresh()
    with SpeakerStore.open(tmp_path) as store:
        store.rename("Anna", "Anna Maria")
        store.forget("Anna Maria")
    assert known.refresh()
    assert not known.members


def test_a_source_is_bound(folder: Path, bundle: Bundle) -> None:
    bound = household(folder, bundle, only="ANNA")
    assert bound.bound_to == "Anna"
    assert not bound.recognises, "nobody else can be meant"
    assert str(bound) == "bound to Anna"
    both = household(folder, bundle, only=["anna", "Ben"])
    assert both.bound_to is None
    assert both.recognises
    stranger = np.array([0, -1], np.float32)
    assert both.identifier().identify(stranger, 2.0).stranger == 0


def test_a_live_source_that_is_bound_hears_other_voices_as_such(folder: Path, bundle: Bundle) -> None:
    stranger = np.array([0, -1], np.float32)
    for only in ("Anna", ["Anna", "Ben"]):
        live = household(folder, bundle, can_gate=True, only=only)
        assert live.gates
        assert live.recognises
        assert live.identifier().identify(stranger, 2.0).stranger > 0.5
        assert "takes every voice" not in str(live)
        for off in (household(folder, bundle, can_gate=True, only=only, gate=1), household(folder, bundle, only=only)):
            assert not off.gates
            assert off.identifier().identify(stranger, 2.0).stranger == 0
            assert "takes every voice" not in str(off)
    assert not household(folder, bundle, can_gate=True).gates


def test_a_gate_that_cannot_be_is_said(folder: Path, bundle: Bundle) -> None:
    mute = replace(bundle, manifest=bundle.manifest.model_copy(update={"speaker": None}))
    without = household(folder, mute, can_gate=True, only="Anna")
    assert not without.gates
    assert str(without) == "bound to Anna, and takes every voice for theirs: voiceprints are lacking"
    files = bundle.manifest.files
    other = files | {"speaker.onnx": files["speaker.onnx"].model_copy(update={"sha256": "0" * 64})}
    changed = replace(bundle, manifest=bundle.manifest.model_copy(update={"files": other}))
    both = household(folder, changed, can_gate=True, only=["Anna", "Ben"])
    assert not both.gates
    assert "takes every voice for theirs" in str(both)


def test_a_bound_person_who_is_forgotten_leaves_strangers(folder: Path, bundle: Bundle) -> None:
    bound = household(folder, bundle, only="Anna")
    with SpeakerStore.open(folder) as store:
        store.forget("Anna")
    assert bound.refresh()
    assert bound.bound_to is None
    assert not bound.recognises
    live = household(folder, bundle, can_gate=True, only="Ben")
    with SpeakerStore.open(folder) as store:
        store.forget("Ben")
    assert live.refresh()
    assert not live.gates


def test_binding_to_nobody_names_the_nearest(folder: Path, bundle: Bundle) -> None:
    with pytest.raises(StoreError, match=r"nobody is called 'Ana' .*did you mean 'Anna'"):
        household(folder, bundle, only="Ana")


def test_another_encoder_means_enrol_again(folder: Path, bundle: Bundle) -> None:
    files = bundle.manifest.files
    other = files | {"encoder.onnx": files["encoder.onnx"].model_copy(update={"sha256": "0" * 64})}
    known = household(folder, replace(bundle, manifest=bundle.manifest.model_copy(update={"files": other})))
    assert not known.recognises
    assert known.unknown() == dict.fromkeys(["Anna", "Ben"], "must enrol again with this bundle")
    assert str(known) == "knows Anna, Ben, of whom 2 must enrol again"


def test_another_speaker_encoder_knows_no_voiceprints_but_profiles(folder: Path, bundle: Bundle) -> None:
    files = bundle.manifest.files
    other = files | {"speaker.onnx": files["speaker.onnx"].model_copy(update={"sha256": "0" * 64})}
    changed = replace(bundle, manifest=bundle.manifest.model_copy(update={"files": other}))
    known = household(folder, changed)
    assert not known.recognises
    assert all("must enrol again" in reason for reason in known.unknown().values())
    assert household(folder, changed, only="Anna").unknown() == {}


def test_without_speaker_encoder_people_can_still_be_bound(folder: Path, bundle: Bundle) -> None:
    mute = replace(bundle, manifest=bundle.manifest.model_copy(update={"speaker": None}))
    assert household(folder, mute, only="Ben").voice_profile("Ben") is not None
    assert not household(folder, mute).recognises


def test_a_forged_import_harms_nobody_else(folder: Path, bundle: Bundle) -> None:
    made_by = {"encoder_hash": bundle.encoder_hash, "speaker_hash": bundle.speaker_hash}
    profile = StoredProfile(
        **made_by,
        tensors={"centre": np.zeros(7, np.float32), "label_shares": np.zeros(3, np.float32)},
        facts={"clips": 1},
    )
    clip = EnrolledClip(**made_by, embedding=np.zeros(7, np.float32), voiceprint=np.ones(9, np.float32), duration_s=1.0)
    with SpeakerStore.open(folder) as store:
        ben = store.person("Ben")
        store.save_voice_profile(ben, profile)
        store.add_clip(ben, clip)
        with pytest.raises(ModelError, match=r"profile of 'Ben' does not fit the bundle; enrol again"):
            voice_profile_of(store, ben, bundle)
    known = household(folder, bundle)
    assert known.unknown() == {"Ben": "must enrol again with this bundle"}
    assert known.voice_profile("Anna") is not None
    assert len(known.members["Ben"].prints) == 4


def test_many_people_are_counted(tmp_path: Path, bundle: Bundle) -> None:
    with SpeakerStore.open(tmp_path) as store:
        for number in range(9):
            store.add_person(f"person {number}", Consent(text_version="1", how="--yes"))
    assert str(household(tmp_path, bundle)) == "knows 9 people, of whom 9 must enrol again"
