"""What is usual of someone, in log-odds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.adapt import VoiceProfile
from edge.bundle import Bundle
from edge.people.usual import log_odds, usual_log_odds


@given(hnp.arrays(np.float32, st.integers(1, 9), elements=st.floats(0, 1, width=32)))
def test_log_odds_are_finite_rise_with_the_probability_and_change_sign_at_a_half(probabilities: np.ndarray) -> None:
    odds = log_odds(probabilities)
    assert np.isfinite(odds).all()
    assert np.abs(odds).max() < 7
    order = np.argsort(probabilities)
    assert (np.diff(odds[order]) >= 0).all()
    np.testing.assert_allclose(log_odds(1 - probabilities), -odds, atol=1e-3)


def test_the_usual_is_the_mean_over_the_clips_with_the_profile_applied(bundle: Bundle) -> None:
    clips = np.array([[0.05, 0.01, 1], [0.09, 0.02, 1], [0.02, 0.001, 1]], np.float32)
    profile = VoiceProfile.estimate(bundle.population, bundle.head, clips)
    usual = usual_log_odds(bundle.head, profile, clips)
    assert usual is not None
    each = [log_odds(bundle.head.probabilities(clip[None] - profile.offset()))[0] for clip in clips]
    np.testing.assert_allclose(usual, np.mean(each, axis=0), atol=1e-5)
    assert usual_log_odds(bundle.head, profile, clips[:0]) is None
    calmer = usual_log_odds(bundle.head, profile, clips, np.array([9, 1, 1], np.float32))
    assert calmer is not None
    assert calmer[0] > usual[0]
