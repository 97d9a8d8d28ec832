from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.adapt import VoiceProfile
from edge.bundle import Bundle
from edge.errors import StoreError
from edge.people.household import Household
from edge.people.refine import BOUND, SURE, UTTERANCES, Refiner, refine
from edge.people.store import SpeakerStore
from edge.settings import SpeakerSettings
from helpers.household import anna, enrol

LOUDER = np.array([0.2, 0.06, 1.0], np.float32)


@pytest.fixture
def household(tmp_path: Path, bundle: Bundle) -> Household:
    enrol(tmp_path, bundle, "Anna", anna)
    with SpeakerStore.open(tmp_path) as store:
        store.allow_refinement("Anna", True)
    household = Household(bundle, SpeakerSettings(store=str(tmp_path)))
    household.load()
    return household


def test_a_profile_follows_how_someone_speaks(household: Household) -> None:
    refiner = Refiner(household)
    before = household.voice_profile("Anna")
    saved = [refiner.collect("Anna", 1.0, LOUDER) for _ in range(2 * UTTERANCES)]
    assert [index for index, now in enumerate(saved) if now] == [UTTERANCES - 1, 2 * UTTERANCES - 1]
    assert household.refresh()
    after = household.voice_profile("Anna")
    assert before is not None
    assert after is not None
    assert after.centre[0] > before.centre[0]
    assert after.label_prior[2] > before.label_prior[2], "what is loud sounds angry"
    assert after.label_prior.sum() == pytest.approx(1)
    with SpeakerStore.open(household.settings.store_folder) as store:
        revisions = store.revisions(store.person("Anna"), household.bundle.encoder_hash)
    assert [profile.reason for profile in revisions.values()] == [f"refined by {UTTERANCES} utterances"] * 2


@pytest.mark.parametrize("score", [0.0, SURE - 1e-6])
def test_who_is_not_surely_meant_changes_nothing(household: Household, score: float) -> None:
    refiner = Refiner(household)
    assert not any(refiner.collect("Anna", score, LOUDER) for _ in range(2 * UTTERANCES))


def test_who_did_not_agree_is_left_alone(household: Household) -> None:
    with SpeakerStore.open(household.settings.store_folder) as store:
        store.allow_refinement("Anna", False)
    household.refresh()
    refiner = Refiner(household)
    assert not any(refiner.collect("Anna", 1.0, LOUDER) for _ in range(2 * UTTERANCES))


def test_who_was_forgotten_meanwhile_is_a_store_error(household: Household) -> None:
    refiner = Refiner(household)
    for _ in range(UTTERANCES - 1):
        refiner.collect("Anna", 1.0, LOUDER)
    with SpeakerStore.open(household.settings.store_folder) as store:
        store.forget("Anna")
    with pytest.raises(StoreError, match="no longer"):
        refiner.collect("Anna", 1.0, LOUDER)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8), st.integers(1, 30))
def test_refinement_is_bounded(bundle: Bundle, levels: list[float], times: int) -> None:
    anchor = VoiceProfile.estimate(bundle.population, bundle.head, np.tile(bundle.population.mean, (4, 1)))
    heard = np.stack([bundle.population.mean + np.float32(level) for level in levels])
    profile = anchor
    for _ in range(times):
        profile = refine(bundle, anchor, profile, heard)
    typical = np.median(np.linalg.norm(bundle.population.offsets, axis=1))
    assert np.linalg.norm(profile.centre - anchor.centre) <= BOUND * typical * (1 + 1e-5)
    assert profile.centre.dtype == np.float32
    assert profile.clips == anchor.clips
