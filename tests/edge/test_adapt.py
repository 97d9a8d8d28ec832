import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.adapt import (
    MIXED_PRIOR,
    PSEUDO_CLIPS,
    TEMPERING,
    VoiceProfile,
    adapted_probabilities,
    label_prior,
)
from edge.errors import UsageError
from helpers.factors import DIM, LABELS, NOISE_DEVIATION, SPEAKER_DEVIATION, World

MIXED = [0, 1, 2, 3, 0, 1, 2, 3]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def names(labels: list[int]) -> list[str | None]:
    return [LABELS[label] for label in labels]


def log_normal(point: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    apart = point - mean
    distance = apart @ np.linalg.inv(covariance) @ apart
    return float(-0.5 * (distance + np.linalg.slogdet(2 * np.pi * covariance)[1]))


def test_nobody_is_moved_without_clips(world: World) -> None:
    population, head = world.population(), world.head()
    profile = VoiceProfile.estimate(population, np.empty((0, DIM), np.float32))
    assert (profile.clips, profile.share) == (0, 0)
    assert not profile.offset.any()
    utterances = world.clips(world.speaker(), MIXED)
    assert adapted_probabilities(head, population, profile, utterances) == pytest.approx(head.probabilities(utterances))


def test_labelled_clips_give_the_gaussian_posterior() -> None:
    """Condition the joint Gaussian of the offset and all clips, written out in full."""
    world, labels = World(), [3, 3, 1]
    population, offset = world.population(), 3 * world.speaker()
    clips = world.clips(offset, labels)
    observed = (clips - population.mean - population.shifts[labels]).astype(float).ravel()
    design = np.tile(np.eye(DIM), (len(labels), 1))
    between, noise = SPEAKER_DEVIATION**2 * np.eye(DIM), NOISE_DEVIATION**2 * np.eye(len(observed))
    expected = between @ design.T @ np.linalg.solve(design @ between @ design.T + noise, observed)
    profile = VoiceProfile.estimate(population, clips, names(labels))
    assert profile.offset == pytest.approx(expected, abs=1e-5)
    assert profile.mixed == 1


@pytest.mark.parametrize("known", [[], [1, 2]])
@pytest.mark.parametrize("unknown", [[0], [2, 2, 2], [0, 1, 3]])
def test_the_probability_of_mixed_clips_is_bayes_rule(world: World, known: list[int], unknown: list[int]) -> None:
    """The evidence of every hypothesis, as one Gaussian density over all clips together."""
    population = world.population()
    clips = world.clips(world.speaker(), known + unknown)
    along = (clips - population.mean).astype(float) @ population.axes.T.astype(float)
    shifts = (population.shifts @ population.axes.T).astype(float)
    scatter = np.cov(shifts.T, bias=True)
    count, axes = along.shape

    def evidence(extra: np.ndarray, mean: np.ndarray) -> float:
        unlabelled = np.kron(np.diag([0.0] * len(known) + [1.0] * len(unknown)), extra)
        covariance = np.kron(np.ones((count, count)), population.between) + np.kron(np.eye(count), population.within)
        means = np.concatenate([shifts[known].ravel(), np.tile(mean, len(unknown))])
        return log_normal(along.ravel(), means, covariance + unlabelled)

    logs = [evidence(scatter, np.zeros(axes)), *(evidence(0 * scatter, shift) for shift in shifts)]
    prior = np.array([MIXED_PRIOR, *[(1 - MIXED_PRIOR) / len(shifts)] * len(shifts)])
    weights = prior * np.exp((np.array(logs) - max(logs)) / TEMPERING)
    profile = VoiceProfile.estimate(population, clips, [*names(known), *[None] * len(unknown)])
    assert profile.mixed == pytest.approx(weights[0] / weights.sum(), rel=1e-3)


@pytest.mark.parametrize("labelled", [False, True])
def test_more_clips_come_closer_to_the_truth(world: World, labelled: bool) -> None:
    population = world.population()
    errors = dict.fromkeys((0, 1, 4, 16, 64), 0.0)
    for _ in range(50):
        offset = world.speaker()
        for count in errors:
            labels = world.rng.integers(len(LABELS), size=count).tolist()
            clips = world.clips(offset, labels)
            profile = VoiceProfile.estimate(population, clips, names(labels) if labelled else None)
            errors[count] += float(np.square(profile.offset - offset).sum())
    assert list(errors.values()) == sorted(errors.values(), reverse=True)
    assert errors[64] < errors[0] / 4


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("label", range(len(LABELS)))
def test_clips_of_one_emotion_are_not_taken_for_the_voice(world: World, label: int, labelled: bool) -> None:
    population = world.population()
    none, naive, mine = [], [], []
    for _ in range(30):
        offset = world.speaker()
        clips = world.clips(offset, [label] * 8)
        profile = VoiceProfile.estimate(population, clips, names([label] * 8) if labelled else None)
        none.append(np.square(offset).sum())
        naive.append(np.square((clips - population.mean).sum(0) / (8 + PSEUDO_CLIPS) - offset).sum())
        mine.append(np.square(profile.offset - offset).sum())
    assert np.mean(mine) < np.mean(none)
    assert np.mean(mine) < 0.75 * np.mean(naive)


def test_mixed_and_one_sided_clips_are_told_apart(world: World) -> None:
    population = world.population()
    mixed, same = [], []
    for _ in range(30):
        offset = world.speaker()
        mixed.append(VoiceProfile.estimate(population, world.clips(offset, MIXED)).mixed)
        same.append(VoiceProfile.estimate(population, world.clips(offset, [1] * 8)).mixed)
    assert np.mean(mixed) > 0.9
    assert np.mean(same) < 0.5


def test_a_profile_helps_recognition(world: World) -> None:
    population, head = world.population(), world.head()
    right = {"strangers": 0, "profile": 0}
    for _ in range(100):
        offset = world.speaker()
        profile = VoiceProfile.estimate(population, world.clips(offset, MIXED), names(MIXED))
        utterances = world.clips(offset, MIXED)
        right["strangers"] += (head.probabilities(utterances).argmax(axis=1) == MIXED).sum()
        adapted = adapted_probabilities(head, population, profile, utterances)
        right["profile"] += (adapted.argmax(axis=1) == MIXED).sum()
    assert right["profile"] > 1.02 * right["strangers"]


def test_the_weight_mixes_the_person_with_a_stranger(world: World) -> None:
    population, head = world.population(), world.head()
    offset = world.speaker()
    profile = VoiceProfile.estimate(population, world.clips(offset, MIXED))
    utterances = world.clips(offset, MIXED)
    none, half, full = (
        adapted_probabilities(head, population, profile, utterances, weight) for weight in (0.0, 0.5, 1.0)
    )
    assert none == pytest.approx(head.probabilities(utterances), abs=1e-6)
    assert half == pytest.approx((none + full) / 2, abs=1e-6)
    assert full.sum(axis=1) == pytest.approx(1)
    assert profile.apply(utterances) == pytest.approx(utterances - profile.offset)


def test_the_label_prior_follows_similar_speakers(world: World) -> None:
    population = world.population()
    offset = population.offsets[0]
    likeness = population.offsets @ offset / np.linalg.norm(population.offsets, axis=1)
    population.label_shares[likeness >= np.sort(likeness)[-15]] = [1, 0, 0, 0]
    prior = label_prior(population, offset)
    assert prior.sum() == pytest.approx(1)
    assert prior[0] > 0.8
    assert label_prior(population, 0 * offset).sum() == pytest.approx(1)


@given(
    clips=hnp.arrays(np.float32, st.tuples(st.integers(0, 12), st.just(DIM)), elements=st.floats(-1e4, 1e4, width=32)),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_whatever_is_enrolled_stays_finite(world: World, clips: np.ndarray, data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.sampled_from([None, *LABELS]), min_size=len(clips), max_size=len(clips)))
    population = world.population()
    profile = VoiceProfile.estimate(population, clips, labels)
    assert np.isfinite(profile.offset).all()
    assert profile.offset.dtype == np.float32
    assert 0 <= profile.mixed <= 1
    assert np.abs(profile.offset).max() <= np.abs(clips - population.mean).max(initial=0) + 3
    shares = adapted_probabilities(world.head(), population, profile, world.clips(world.speaker(), MIXED))
    assert np.isfinite(shares).all()
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_wrong_label_is_refused(world: World) -> None:
    clips = world.clips(world.speaker(), [0, 1])
    with pytest.raises(UsageError, match=r"'hapy' is not one of neutral, happy, sad, angry.*'happy'"):
        VoiceProfile.estimate(world.population(), clips, ["hapy", None])
    with pytest.raises(UsageError, match="2 clips have 1 labels"):
        VoiceProfile.estimate(world.population(), clips, ["happy"])


def test_adaptation_costs_less_than_a_millisecond(world: World) -> None:
    population, head = world.population(), world.head()
    profile = VoiceProfile.estimate(population, world.clips(world.speaker(), MIXED))
    utterance = world.clips(world.speaker(), [0])
    elapsed_ms = []
    for _ in range(50):
        started_s = time.perf_counter()
        adapted_probabilities(head, population, profile, utterance)
        elapsed_ms.append((time.perf_counter() - started_s) * 1e3)
    assert np.median(elapsed_ms) < 1
