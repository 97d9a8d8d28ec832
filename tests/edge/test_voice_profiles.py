import numpy as np
import pytest

from edge.adapt import VoiceProfile
from edge.bundle import Bundle
from edge.errors import ModelError
from edge.people.store.person import StoredProfile
from edge.people.voice_profiles import from_stored, to_stored


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
