import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.adapt import LABEL_SHIFT, PSEUDO_CLIPS, VoiceProfile, adapted_probabilities
from edge.arrays import Matrix
from edge.errors import UsageError
from edge.label_prior import with_label_prior
from helpers.factors import DIM, LABELS, NOISE_DEVIATION, SPEAKER_DEVIATION, World

MIXED = [0, 1, 2, 3, 0, 1, 2, 3]
CLIPS = hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.just(DIM)), elements=st.floats(-100, 100, width=32))
OFFSETS = hnp.arrays(np.float32, DIM, elements=st.floats(-20, 20, width=32))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def names(labels: list[int]) -> list[str | None]:
    return [LABELS[label] for label in labels]


def estimate(
    world: World, clips: Matrix, labels: list[str | None] | None = None, room: Matrix | None = None
) -> VoiceProfile:
    return VoiceProfile.estimate(world.population(), world.head(), clips, labels, room)


@given(room=OFFSETS)
@settings(max_examples=30, deadline=None)
def test_a_profile_of_no_clips_is_the_room(world: World, room: Matrix) -> None:
    profile = estimate(world, np.empty((0, DIM), np.float32), room=room)
    assert (profile.clips, profile.share) == (0, 0)
    assert profile.offset(room) == pytest.approx(room)
    assert not profile.offset().any(), "in a room of which nothing is known"
    assert np.isfinite(profile.label_prior).all()


@given(clips=CLIPS, room=OFFSETS, there=OFFSETS)
@settings(max_examples=40, deadline=None)
def test_an_offset_lies_between_the_room_and_the_centre(
    world: World, clips: Matrix, room: Matrix, there: Matrix
) -> None:
    profile = estimate(world, clips, room=room)
    assert profile.share == len(clips) / (len(clips) + PSEUDO_CLIPS)
    assert profile.offset(there) - there == pytest.approx(profile.share * (profile.centre - there), abs=1e-3)
    assert profile.offset() == pytest.approx(profile.offset(np.zeros(DIM, np.float32)))
    assert profile.offset(there).dtype == profile.centre.dtype == np.float32


def test_many_clips_approach_their_centre(world: World) -> None:
    offset, room = world.speaker(), np.full(DIM, 2, np.float32)
    clips = world.clips(offset, MIXED * 500)
    few, many = (estimate(world, each, names(MIXED * 500)[: len(each)]) for each in (clips[:8], clips))
    assert np.linalg.norm(many.offset(room) - many.centre) < 0.01 * np.linalg.norm(room - many.centre)
    assert np.linalg.norm(few.offset(room) - few.centre) > 0.5 * np.linalg.norm(room - few.centre)
    assert many.offset(room) == pytest.approx(offset, abs=0.2)


@given(centre=OFFSETS, clips=st.integers(1, 1000))
@settings(max_examples=40, deadline=None)
def test_one_person_alone_in_a_room_is_not_counted_twice(centre: Matrix, clips: int) -> None:
    """The room is then all that the person's clips have in common."""
    profile = VoiceProfile(centre, np.full(len(LABELS), 0.25, np.float32), clips)
    assert profile.offset(centre) == pytest.approx(centre, abs=1e-4)


def test_labelled_clips_give_the_gaussian_posterior() -> None:
    """Condition the joint Gaussian of the offset and all clips, written out in full."""
    world, labels = World(), [3, 3, 1]
    population, offset = world.population(), 3 * world.speaker()
    clips = world.clips(offset, labels)
    observed = (clips - population.mean - population.shifts[labels]).astype(float).ravel()
    design = np.tile(np.eye(DIM), (len(labels), 1))
    between, noise = SPEAKER_DEVIATION**2 * np.eye(DIM), NOISE_DEVIATION**2 * np.eye(len(observed))
    expected = between @ design.T @ np.linalg.solve(design @ between @ design.T + noise, observed)
    assert estimate(world, clips, names(labels)).offset() == pytest.approx(expected, abs=1e-5)


@given(labels=st.lists(st.integers(0, len(LABELS) - 1), min_size=1, max_size=12), offset=OFFSETS, room=OFFSETS)
@settings(max_examples=40, deadline=None)
def test_of_labelled_clips_the_whole_shift_is_taken_out(
    world: World, labels: list[int], offset: Matrix, room: Matrix
) -> None:
    """Whatever the head takes them for."""
    clips = world.mean + offset + world.shifts[labels]
    assert estimate(world, clips, names(labels), room).centre == pytest.approx(offset, abs=1e-4)


def test_of_unlabelled_clips_a_part_of_the_expected_shift_is_taken_out(world: World) -> None:
    """Two passes, the second without what the first found, written out."""
    head, population, room = world.head(), world.population(), world.speaker()
    clips = world.clips(world.speaker(), [1, 1, 3])
    share = 3 / (3 + PSEUDO_CLIPS)
    offset = room
    for _ in range(2):
        shifts = LABEL_SHIFT * head.probabilities(clips - offset) @ population.shifts
        shifts[1] = population.shifts[1]
        centre = np.mean(clips - population.mean - shifts, axis=0)
        offset = share * centre + (1 - share) * room
    assert estimate(world, clips, [None, "happy", None], room).centre == pytest.approx(centre, abs=1e-5)


@given(clips=CLIPS, data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_clips_does_not_matter(world: World, clips: Matrix, data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.sampled_from([None, *LABELS]), min_size=len(clips), max_size=len(clips)))
    order = data.draw(st.permutations(range(len(clips))))
    profile, other = (
        estimate(world, clips[rows], [labels[row] for row in rows]) for rows in (list(range(len(clips))), order)
    )
    assert other.centre == pytest.approx(profile.centre, abs=1e-3)
    assert other.label_prior == pytest.approx(profile.label_prior, abs=1e-3)


@pytest.mark.parametrize("labelled", [False, True])
def test_more_clips_come_closer_to_the_truth(world: World, labelled: bool) -> None:
    errors = dict.fromkeys((0, 4, 16, 64), 0.0)
    for _ in range(50):
        offset = world.speaker()
        for count in errors:
            labels = world.rng.integers(len(LABELS), size=count).tolist()
            profile = estimate(world, world.clips(offset, labels), names(labels) if labelled else None)
            errors[count] += float(np.square(profile.offset() - offset).sum())
    assert list(errors.values()) == sorted(errors.values(), reverse=True)
    assert errors[64] < errors[0] / 3


def right_answers(world: World, labels: list[int], people: int = 200) -> dict[str, float]:
    """Return shares of right answers to mixed utterances: in a known room, and enrolled there without labels, too."""
    head, room = world.head(), 2 * world.speaker()
    right = {"room": 0.0, "profile": 0.0}
    for _ in range(people):
        offset = room + world.speaker()
        profile = estimate(world, world.clips(offset, labels), room=room)
        utterances = world.clips(offset, MIXED * 2)
        for name, known in {"room": room, "profile": profile.offset(room)}.items():
            right[name] += float((head.probabilities(utterances - known).argmax(axis=1) == MIXED * 2).mean()) / people
    return right


def test_mixed_clips_gain_over_the_room() -> None:
    right = right_answers(World(7, speaker=0.7, noise=0.9), MIXED)
    assert right["profile"] > right["room"] + 0.03


@pytest.mark.parametrize("label", range(len(LABELS)))
@pytest.mark.parametrize("deviations", [(0.7, 0.9), (SPEAKER_DEVIATION, NOISE_DEVIATION)])
def test_clips_of_one_emotion_lose_little_against_the_room(label: int, deviations: tuple[float, float]) -> None:
    right = right_answers(World(7, *deviations), [label] * 8)
    assert right["profile"] > right["room"] - 0.015


@pytest.mark.parametrize("label", range(len(LABELS)))
def test_an_emotion_is_taken_for_the_voice_less_than_by_the_mean_of_the_clips(label: int) -> None:
    world = World(3, noise=0.9)
    naive, mine = [], []
    for _ in range(50):
        offset = world.speaker()
        clips = world.clips(offset, [label] * 8)
        naive.append(np.square(clips.mean(axis=0) - world.mean - offset).sum())
        mine.append(np.square(estimate(world, clips).centre - offset).sum())
    assert np.mean(mine) < 0.7 * np.mean(naive)


def test_the_weight_mixes_the_person_with_a_stranger(world: World) -> None:
    head, room = world.head(), world.speaker()
    profile = estimate(world, world.clips(world.speaker(), MIXED))
    utterances, offset = world.clips(world.speaker(), MIXED), profile.offset(room)
    none, half, full = (adapted_probabilities(head, utterances, offset, weight, room) for weight in (0.0, 0.5, 1.0))
    assert none == pytest.approx(head.probabilities(utterances - room), abs=1e-6)
    assert full == pytest.approx(head.probabilities(utterances - offset), abs=1e-6)
    assert half == pytest.approx((none + full) / 2, abs=1e-6)
    assert full.sum(axis=1) == pytest.approx(1)
    unknown = adapted_probabilities(head, utterances, offset, 0.0)
    assert unknown == pytest.approx(head.probabilities(utterances), abs=1e-6)


def test_a_label_prior_changes_the_answers_to_the_person_alone(world: World) -> None:
    head, utterances = world.head(), world.clips(world.speaker(), MIXED)
    offset, ratio = world.speaker(), np.array([4, 1, 1, 1], np.float32)
    expected = with_label_prior(head.probabilities(utterances - offset), ratio)
    assert adapted_probabilities(head, utterances, offset, ratio=ratio) == pytest.approx(expected, abs=1e-6)
    stranger = adapted_probabilities(head, utterances, offset, 0.0, ratio=ratio)
    assert stranger == pytest.approx(head.probabilities(utterances), abs=1e-6)


def test_clips_teach_how_often_a_label_is_shown_unless_it_was_asked_for(world: World) -> None:
    clips = world.clips(world.speaker(), [1] * 12)
    asked, mixed = (estimate(world, clips, each) for each in (names([1] * 12), [None] * 12))
    assert asked.label_prior == pytest.approx(estimate(world, clips[:0]).label_prior, abs=2e-3)
    assert mixed.label_prior.argmax() == 1
    assert mixed.label_prior[1] > asked.label_prior[1] + 0.04


@given(
    clips=hnp.arrays(np.float32, st.tuples(st.integers(0, 12), st.just(DIM)), elements=st.floats(-1e4, 1e4, width=32)),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_whatever_is_enrolled_stays_finite(world: World, clips: np.ndarray, data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.sampled_from([None, *LABELS]), min_size=len(clips), max_size=len(clips)))
    profile = estimate(world, clips, labels)
    offset = profile.offset()
    assert np.isfinite(profile.centre).all()
    assert offset.dtype == np.float32
    assert np.abs(offset).max() <= np.abs(clips - world.mean).max(initial=0) + 3
    shares = adapted_probabilities(world.head(), world.clips(world.speaker(), MIXED), offset)
    assert np.isfinite(shares).all()
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_wrong_label_is_refused(world: World) -> None:
    clips = world.clips(world.speaker(), [0, 1])
    with pytest.raises(UsageError, match=r"'hapy' is not one of neutral, happy, sad, angry.*'happy'"):
        estimate(world, clips, ["hapy", None])
    with pytest.raises(UsageError, match="2 clips have 1 labels"):
        estimate(world, clips, ["happy"])


def test_adaptation_costs_less_than_a_millisecond(world: World) -> None:
    head, offset = world.head(), estimate(world, world.clips(world.speaker(), MIXED)).offset()
    utterance = world.clips(world.speaker(), [0])
    elapsed_ms = []
    for _ in range(50):
        started_s = time.perf_counter()
        adapted_probabilities(head, utterance, offset)
        elapsed_ms.append((time.perf_counter() - started_s) * 1e3)
    assert np.median(elapsed_ms) < 1
