import numpy as np
import pytest

from calibrate.dataset import Part
from calibrate.left_out import STREAMS, answer_in_room, stream_temperature
from calibrate.streams import DeviceModel
from edge.arrays import Matrix
from helpers.factors import World


@pytest.fixture(scope="module")
def world() -> World:
    return World(4, noise=0.9)


def answered(world: World, corpus: str, room: float = 0.0) -> tuple[Matrix, Part]:
    part, embeddings, _ = world.part(speakers=6, takes=8, corpus=corpus)
    model = DeviceModel(world.head(), world.population())
    return answer_in_room(model, part, embeddings + np.float32(room))


def test_every_utterance_is_answered_in_each_stream(world: World) -> None:
    logits, heard = answered(world, "here")
    assert len(logits) == len(heard.labels) == STREAMS * 6 * 8 * 4
    assert np.exp(logits).sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert np.bincount(heard.labels).tolist() == [STREAMS * 6 * 8] * 4
    assert [heard.utterances[0].emotion] == [world.population().labels[heard.labels[0]]]


def test_the_room_is_got_to_know(world: World) -> None:
    """Far from where the head was fitted, the latter answers of a stream are better than without a room."""
    part, embeddings, _ = world.part(speakers=6, takes=20)
    moved = embeddings + np.float32(0.8) * world.shifts[1]
    model = DeviceModel(world.head(), world.population())
    without = (world.head().probabilities(moved).argmax(axis=1) == part.labels).mean()
    logits, heard = answer_in_room(model, part, moved)
    assert (logits.argmax(axis=1) == heard.labels).mean() > without + 0.03


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_the_temperature_undoes_what_logits_are_scaled_by(world: World, factor: float) -> None:
    rounds = [answered(world, name) for name in ("here", "there")]
    scaled = [(np.float32(factor) * logits, part) for logits, part in rounds]
    assert stream_temperature(scaled) == pytest.approx(factor * stream_temperature(rounds), rel=0.05)


def test_corpora_count_the_same_in_the_temperature(world: World) -> None:
    """However many utterances there are of one."""
    few, many = answered(world, "few"), answered(world, "many")
    sure = (np.float32(4) * many[0], many[1])
    rows = np.arange(len(few[1].labels)) % 4 == 0
    fewer = (few[0][rows], few[1].select(rows))
    assert stream_temperature([few, sure]) == pytest.approx(stream_temperature([fewer, sure]), rel=0.2)
