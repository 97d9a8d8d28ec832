import pickle
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.arrays import Matrix
from edge.errors import ModelError
from edge.population import Population
from edge.room import EVEN, EVEN_ANSWERS, LATEST, ONE_SIDED, Room
from edge.settings import RoomSettings
from helpers.factors import DIM, LABELS, World

WORLD = World()
HEAD, POPULATION = WORLD.head(), WORLD.population()
SETTINGS = RoomSettings()
FOREVER = RoomSettings(window=10_000)
SIGHTS = hnp.arrays(np.float32, st.tuples(st.integers(1, 80), st.just(DIM)), elements=st.floats(-50, 50, width=32))
SHIFT = float(np.linalg.norm(POPULATION.shifts, axis=1).max())


def play(room: Room, embeddings: Matrix) -> None:
    """Answer utterances as a stranger's, each by what was known before it."""
    for embedding in embeddings:
        room.update(embedding, HEAD.probabilities((embedding - room.offset())[None])[0])


def corpora() -> tuple[Population, Matrix]:
    """Return a population of two corpora, and what their rooms differ by."""
    apart = np.zeros(DIM, np.float32)
    apart[-1] = 18
    return replace(POPULATION, contrast=2 * apart[None] / (apart @ apart)), apart


def test_an_empty_room_changes_nothing() -> None:
    room = Room(POPULATION, SETTINGS)
    assert (room.share, room.utterances, room.distance) == (0, 0, 0)
    assert not room.offset().any()
    assert not room.mean.any()
    assert not room.label_shares.any()
    assert not room.has_changed()


def test_one_utterance_by_hand() -> None:
    room = Room(POPULATION, RoomSettings(pseudo_utterances=3, label_shift=0.5))
    embedding, answer = np.arange(DIM, dtype=np.float32), np.array([0.5, 0.25, 0.25, 0], np.float32)
    room.update(embedding, answer)
    expected = embedding - POPULATION.mean - 0.5 * answer @ POPULATION.shifts
    assert room.mean == pytest.approx(expected, abs=1e-5)
    commonest = (1 + EVEN_ANSWERS * EVEN) / (1 + EVEN_ANSWERS)
    share = 1 / (1 + 3 * (1 + ONE_SIDED * (commonest - EVEN)))
    assert room.offset() == pytest.approx(share * expected, abs=1e-5)
    assert room.offset().dtype == np.float32
    assert (room.share, room.utterances) == (pytest.approx(share), 1)
    assert room.label_shares == pytest.approx(answer)


def answered(labels: Sequence[int], certainty: float = 0.7, window: float = 10_000) -> Room:
    """Return a room in which these were the most probable labels, in that order."""
    room = Room(POPULATION, RoomSettings(window=window, pseudo_utterances=10))
    answers = np.eye(len(LABELS), dtype=np.float32) * certainty + np.float32((1 - certainty) / len(LABELS))
    for label in labels:
        room.update(POPULATION.mean + 1, answers[label])
    return room


@given(counts=st.lists(st.integers(0, 30), min_size=len(LABELS), max_size=len(LABELS)), certainty=st.floats(0.1, 1))
@settings(max_examples=50, deadline=None)
def test_the_more_answers_are_the_same_the_less_a_room_is_trusted(counts: list[int], certainty: float) -> None:
    commonest = (max(counts) + EVEN_ANSWERS * EVEN) / (sum(counts) + EVEN_ANSWERS)
    room = answered(np.repeat(np.arange(len(LABELS)), counts).tolist(), certainty)
    k = 10 * (1 + ONE_SIDED * max(0.0, commonest - EVEN))
    assert room.share == pytest.approx(sum(counts) / (sum(counts) + k), rel=0.03)
    assert np.allclose(room.offset(), room.share * room.mean, atol=1e-5)


def test_balanced_answers_do_not_slow_a_room_down_and_one_sided_ones_do() -> None:
    even, half, same = (
        answered(labels, window=1e4) for labels in ([0, 1, 2, 3] * 20, [0, 0, 1, 0, 2, 0, 3, 0] * 10, [0] * 80)
    )
    assert even.share == pytest.approx(80 / (80 + 10), abs=0.005)
    assert half.share < 0.75 * even.share
    assert same.share < 0.4 * even.share
    assert even.is_known
    assert same.is_known, "what rooms differ in is not what labels do"
    assert not answered([0, 1, 2] * 3).is_known


@pytest.mark.parametrize("labels", [2, 3])
def test_of_few_labels_one_is_often_the_commonest(labels: int) -> None:
    population = replace(
        POPULATION,
        labels=LABELS[:labels],
        shifts=POPULATION.shifts[:labels],
        label_shares=np.full((20, labels), 1 / labels, np.float32),
        head_prior=np.full(labels, 1 / labels, np.float32),
    )
    room = Room(population, RoomSettings(pseudo_utterances=10, window=10_000))
    for number in range(60):
        room.update(POPULATION.mean, np.eye(labels, dtype=np.float32)[number % labels])
    assert room.share == pytest.approx(60 / (60 + 10), abs=0.005)


def test_a_room_is_trusted_again_when_the_mood_changes() -> None:
    room = answered([0] * 60, window=32)
    before = room.share
    for number in range(60):
        room.update(POPULATION.mean + 1, np.eye(len(LABELS), dtype=np.float32)[number % len(LABELS)])
    assert room.share > 2 * before


def test_everyday_speech_of_one_mood_is_not_taken_for_the_room() -> None:
    """Half of what a label does to speech is missed by the answers, and would otherwise be subtracted."""
    room = Room(POPULATION, RoomSettings(label_shift=0.5, window=64))
    for embedding in WORLD.clips(np.zeros(DIM, np.float32), [0] * 200):
        room.update(embedding, np.eye(len(LABELS), dtype=np.float32)[0])
    assert np.linalg.norm(room.offset()) < 0.2 * np.linalg.norm(room.mean)


@given(embeddings=SIGHTS, seed=st.integers(0, 1000), window=st.floats(8, 200))
@settings(max_examples=60, deadline=None)
def test_it_stays_bounded_whatever_is_heard(embeddings: Matrix, seed: int, window: float) -> None:
    room = Room(POPULATION, RoomSettings(window=window))
    answers = np.random.default_rng(seed).dirichlet(np.ones(len(LABELS)), len(embeddings)).astype(np.float32)
    for embedding, answer in zip(embeddings, answers, strict=True):
        room.update(embedding, answer)
    farthest = np.linalg.norm(embeddings - POPULATION.mean, axis=1).max() + SHIFT
    assert np.linalg.norm(room.offset()) <= room.share * farthest * 1.001
    assert 0 < room.utterances <= min(len(embeddings), window) + 1e-6
    assert room.label_shares.sum() == pytest.approx(1, abs=1e-4)


@given(embeddings=SIGHTS, seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_what_is_saved_is_the_same_room(embeddings: Matrix, seed: int) -> None:
    room, other = Room(POPULATION, SETTINGS), Room(POPULATION, SETTINGS)
    play(room, embeddings)
    other.restore(room.tensors())
    assert (other.offset() == room.offset()).all()
    assert (other.share, other.utterances) == (room.share, room.utterances)
    assert {name: tensor.tobytes() for name, tensor in other.tensors().items()} == {
        name: tensor.tobytes() for name, tensor in room.tensors().items()
    }
    later = np.random.default_rng(seed).normal(size=(20, DIM)).astype(np.float32)
    play(room, later)
    play(other, later)
    assert other.offset() == pytest.approx(room.offset(), abs=1e-5)


@given(embeddings=SIGHTS, seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_with_equal_weights_the_order_makes_no_difference(embeddings: Matrix, seed: int) -> None:
    answers = HEAD.probabilities(embeddings)
    order = np.random.default_rng(seed).permutation(len(embeddings))
    room = Room.of(POPULATION, SETTINGS, list(embeddings), list(answers))
    other = Room.of(POPULATION, SETTINGS, list(embeddings[order]), list(answers[order]))
    assert other.offset() == pytest.approx(room.offset(), abs=1e-4)
    assert room.utterances == pytest.approx(min(len(embeddings), SETTINGS.window))


@given(seed=st.integers(0, 50))
@settings(max_examples=15, deadline=None)
def test_a_balanced_stream_shows_the_room(seed: int) -> None:
    world = np.random.default_rng(seed)
    true = world.normal(size=DIM).astype(np.float32)
    room = Room(POPULATION, FOREVER)
    play(room, WORLD.clips(true, world.permutation(np.arange(600) % len(LABELS)).tolist()))
    assert np.linalg.norm(room.mean - true) < 0.35 * np.linalg.norm(true) + 0.2
    assert np.linalg.norm(room.offset()) < np.linalg.norm(room.mean)


@given(seed=st.integers(0, 50), label=st.integers(0, len(LABELS) - 1))
@settings(max_examples=15, deadline=None)
def test_a_stream_of_one_label_moves_it_no_further_than_that_label(seed: int, label: int) -> None:
    true = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    room = Room(POPULATION, FOREVER)
    play(room, WORLD.clips(true, [label] * 300))
    assert np.linalg.norm(room.mean - true) <= 2 * SHIFT
    assert room.label_shares.argmax() == label or np.linalg.norm(room.mean - true) > 0.5


def test_it_is_small_and_stays_so() -> None:
    room = Room(POPULATION, SETTINGS)
    clips = WORLD.clips(np.zeros(DIM, np.float32), [0, 1, 2, 3] * 25)
    play(room, clips)
    kept = len(pickle.dumps((room._sums, room._latest)))
    for _ in range(5):
        play(room, clips)
    assert len(pickle.dumps((room._sums, room._latest))) == pytest.approx(kept, rel=0.05)
    assert sum(tensor.nbytes for tensor in room.tensors().values()) == 8 * (DIM + 2 * len(LABELS) + 1)


def test_old_utterances_are_forgotten() -> None:
    room = Room(POPULATION, SETTINGS)
    play(room, WORLD.clips(np.full(DIM, 4, np.float32), [0, 1, 2, 3] * 50))
    here = np.full(DIM, -4, np.float32)
    play(room, WORLD.clips(here, [0, 1, 2, 3] * 80))
    assert np.linalg.norm(room.mean - here) < 0.25 * np.linalg.norm(here)


@pytest.mark.parametrize("damage", ["earlier", "missing", "shape", "nan", "negative", "extra"])
def test_what_is_no_room_is_refused(damage: str) -> None:
    room = Room(POPULATION, SETTINGS)
    play(room, WORLD.clips(np.ones(DIM, np.float32), [0, 1, 2, 3]))
    before, tensors = room.offset(), room.tensors()
    if damage == "earlier":
        del tensors["answers"]
    elif damage == "missing":
        del tensors["labels"]
    elif damage == "shape":
        tensors["embeddings"] = np.zeros(DIM + 1)
    elif damage == "extra":
        tensors["more"] = np.zeros(1)
    else:
        tensors["utterances"] = np.array([np.nan if damage == "nan" else -1.0])
    with pytest.raises(ModelError, match="is no room of this model and version"):
        room.restore(tensors)
    assert (room.offset() == before).all()


def test_another_room_is_noticed_and_started_anew() -> None:
    population, apart = corpora()
    room = Room(population, SETTINGS)
    play(room, WORLD.clips(apart / 2, [0, 1, 2, 3] * 16))
    assert not room.has_changed()
    there = WORLD.clips(-apart / 2, [0, 1, 2, 3] * 8)
    changed = 0
    for number, embedding in enumerate(there):
        play(room, embedding[None])
        if room.has_changed():
            changed = number + 1
            room.restart()
            break
    assert 0 < changed <= LATEST
    assert room.utterances <= LATEST / 2
    play(room, there)
    assert not room.has_changed()
    assert np.linalg.norm(room.mean + apart / 2) < np.linalg.norm(room.mean - apart / 2)


@given(seed=st.integers(0, 1000), label=st.integers(0, len(LABELS) - 1))
@settings(max_examples=30, deadline=None)
def test_neither_one_person_nor_one_label_is_another_room(seed: int, label: int) -> None:
    population, apart = corpora()
    room, world = Room(population, SETTINGS), World(seed)
    world.mean = WORLD.mean
    people = [apart / 2 + world.speaker() for _ in range(4)]
    play(room, np.concatenate([world.clips(person, [0, 1, 2, 3] * 4) for person in people]))
    for embedding in world.clips(apart / 2 + world.speaker(), [label] * 40):
        play(room, embedding[None])
        assert not room.has_changed()


def test_a_population_of_one_corpus_sees_no_other_room() -> None:
    room = Room(POPULATION, SETTINGS)
    play(room, WORLD.clips(np.zeros(DIM, np.float32), [0, 1, 2, 3] * 10))
    play(room, WORLD.clips(np.full(DIM, 9, np.float32), [0, 1, 2, 3] * 10))
    assert not room.has_changed()
    assert room.distance == 0
