from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.adapt import VoiceProfile
from edge.arrays import Matrix
from edge.population import Population
from edge.room import ANOTHER_ROOM, Room
from edge.settings import RoomSettings
from helpers.factors import DIM, LABELS, World

OFFSETS = hnp.arrays(np.float32, DIM, elements=st.floats(-20, 20, width=32))
PRIOR = np.full(len(LABELS), 0.25, np.float32)


def two_rooms() -> tuple[Population, Matrix]:
    """Return a population of two rooms, and what they differ by."""
    population, apart = World().population(), np.zeros(DIM, np.float32)
    apart[-1] = 9
    return replace(population, contrast=2 * apart[None] / (apart @ apart)), apart


def room_of(population: Population, mean: Matrix, utterances: int = 40) -> Room:
    room = Room(population, RoomSettings(label_shift=0, window=10_000))
    for number in range(utterances):
        room.update(population.mean + mean, np.eye(len(LABELS), dtype=np.float32)[number % len(LABELS)])
    return room


def test_a_profile_is_moved_to_another_room() -> None:
    population, apart = two_rooms()
    desk, car = (room_of(population, sign * apart / 2) for sign in (1, -1))
    own = np.arange(DIM, dtype=np.float32) / DIM
    profile = VoiceProfile(apart / 2 + own, PRIOR, 8, room=desk.mean)
    moved = profile.moved_to(car)
    assert moved is not None
    assert moved.centre == pytest.approx(own - apart / 2, abs=1e-5)
    assert moved.room == pytest.approx(car.mean)
    assert moved.own == pytest.approx(profile.own, abs=1e-5)
    assert (moved.clips, moved.share) == (profile.clips, profile.share)
    back = moved.moved_to(desk)
    assert back is not None
    assert back.centre == pytest.approx(profile.centre, abs=1e-5)


def test_a_profile_stays_where_there_is_nothing_to_move() -> None:
    population, apart = two_rooms()
    desk, car = (room_of(population, sign * apart / 2) for sign in (1, -1))
    profile = VoiceProfile(apart / 2, PRIOR, 8, room=desk.mean)
    assert profile.moved_to(desk) is None
    assert profile.moved_to(room_of(population, apart / 2 * (1 - ANOTHER_ROOM / 10))) is None
    assert profile.moved_to(room_of(population, -apart / 2, utterances=3)) is None, "too little heard"
    assert replace(profile, room=None).moved_to(car) is None
    assert profile.moved_to(car) is not None


@given(own=OFFSETS, rooms=st.tuples(OFFSETS, OFFSETS), clips=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_who_is_alone_in_another_room_is_there_as_if_enrolled_there(
    own: Matrix, rooms: tuple[Matrix, Matrix], clips: int
) -> None:
    """The room learns from what they say less their own part, see ``Recognition.without_person``."""
    desk, car = rooms
    profile = VoiceProfile(desk + own, PRIOR, clips, room=desk)
    assert profile.own is not None
    learnt = car + own - profile.own
    moved = replace(profile, centre=profile.centre - desk + learnt, room=learnt)
    assert moved.offset(learnt) == pytest.approx(car + own, abs=1e-3)


def test_what_is_a_persons_own_is_unknown_without_the_room() -> None:
    world = World()
    profile, room = VoiceProfile(world.speaker(), PRIOR, 8), world.speaker()
    assert profile.own is None
    own = replace(profile, room=room).own
    assert own is not None
    assert own == pytest.approx(profile.share * (profile.centre - room), abs=1e-6)
