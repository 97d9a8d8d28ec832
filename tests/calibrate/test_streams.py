import numpy as np
import pytest

from calibrate.bootstrap import Estimate
from calibrate.experiments.generalisation.figures import Outcome
from calibrate.metrics import unweighted_accuracy
from calibrate.streams import DeviceModel, answer_files, answer_streams, cold_start, draw_streams
from edge.arrays import Matrix
from edge.head import Head
from edge.settings import RoomSettings
from helpers.tiny import tiny_population

LABELS = np.repeat([0, 1, 2], [40, 60, 90])


@pytest.fixture
def model() -> DeviceModel:
    """Low is neutral, medium happy, high angry, by the first number of the embedding."""
    head = Head(np.array([[0, 0, 0], [100, 0, 0], [200, 0, 0]], np.float32), np.array([0, -4, -12], np.float32), 1.0)
    return DeviceModel(head, tiny_population(), RoomSettings(pseudo_utterances=2))


def embeddings_in(room: float, labels: np.ndarray = LABELS) -> Matrix:
    rng = np.random.default_rng(0)
    z = np.zeros((len(labels), 3), np.float32)
    z[:, 0] = 0.02 + 0.04 * labels + room + 0.002 * rng.standard_normal(len(labels))
    return z


def test_a_balanced_stream_has_every_label_as_often() -> None:
    streams = draw_streams(LABELS, "balanced", range(3), length=100)
    assert len(streams) == 3
    for stream in streams:
        assert np.bincount(LABELS[stream]).tolist() == [33, 33, 33]
        assert len(set(stream.tolist())) == len(stream)
    assert not np.array_equal(streams[0], streams[1])
    again = draw_streams(LABELS, "balanced", range(3), length=100)
    assert all(np.array_equal(*pair) for pair in zip(streams, again, strict=True))
    longest = draw_streams(LABELS, "balanced", [0])[0]
    assert np.bincount(LABELS[longest]).tolist() == [40, 40, 40], "no utterance twice"


@pytest.mark.parametrize(("kind", "share"), [("half", 0.5), ("four fifths", 0.8)])
def test_each_label_is_raised_in_turn(kind: str, share: float) -> None:
    streams = draw_streams(LABELS, kind, range(2), length=100)  # type: ignore[arg-type]
    assert len(streams) == 6
    for number, stream in enumerate(streams):
        counts = np.bincount(LABELS[stream], minlength=3)
        raised = number // 2
        assert counts[raised] / len(stream) == pytest.approx(share, abs=0.02)
        assert np.ptp(np.delete(counts, raised)) <= 1
        assert counts[raised] <= (raised == LABELS).sum()


def test_the_room_takes_away_what_is_always_there(model: DeviceModel) -> None:
    z = embeddings_in(room=0.03)
    streams = draw_streams(LABELS, "balanced", range(2))
    without, room = (answer_streams(model, z, streams, with_room) for with_room in (False, True))
    np.testing.assert_array_equal(without.rows, room.rows)
    np.testing.assert_array_equal(without.probabilities, model.head.probabilities(z[without.rows]))
    assert np.unique(without.stream).tolist() == [0, 1]
    ua = [unweighted_accuracy(each.probabilities.argmax(1), LABELS[each.rows]) for each in (without, room)]
    assert ua[1] > ua[0] + 0.1
    alone = answer_streams(model, z, streams[1:], with_room=True)
    np.testing.assert_array_equal(alone.probabilities, room.probabilities[room.stream == 1], "a room of its own")
    np.testing.assert_array_equal(answer_files(model, z).probabilities, model.head.probabilities(z))


def test_an_answer_does_not_depend_on_what_comes_after(model: DeviceModel) -> None:
    z = embeddings_in(room=0.03)[np.random.default_rng(1).permutation(len(LABELS))]
    whole = model.answer(z, model.room())
    np.testing.assert_array_equal(model.answer(z[:20], model.room()), whole[:20])
    np.testing.assert_array_equal(whole[0], model.answer(z[:1])[0], "nothing was said before the first")


def test_a_cold_start_warms_up(model: DeviceModel) -> None:
    z = embeddings_in(room=0.03)
    found = cold_start(model, z, (0, 4, 32, 4_000), range(3))
    assert list(found) == [0, 4, 32], "not more than half of what there is"
    assert all(np.array_equal(found[0].rows, each.rows) for each in found.values())
    assert len(found[0].rows) == 3 * (len(LABELS) - 32)
    ua = [unweighted_accuracy(each.probabilities.argmax(1), LABELS[each.rows]) for each in found.values()]
    assert ua[0] < ua[2]
    np.testing.assert_array_equal(found[0].probabilities, model.head.probabilities(z[found[0].rows]))


def outcome(right: list[list[bool]], streams: list[int]) -> Outcome:
    """Two speakers a and b, each two utterances of labels 0 and 1; ``right`` by stream."""
    labels = np.tile([0, 1], len(right) * 2)
    answered = np.where(np.ravel(right), labels, 2)
    probabilities = (0.1 + 0.8 * np.eye(3)[answered]).astype(np.float32)
    return Outcome(np.repeat(streams, 4), np.tile(["a", "a", "b", "b"], len(right)), labels, probabilities)


def test_ua_is_the_mean_over_streams_and_labels() -> None:
    both = outcome([[True, False, True, False], [True, True, True, False]], [3, 7])
    found = both.ua(None)
    assert found.value == pytest.approx((0.5 + 0.75) / 2)
    assert found.interval is not None
    assert found.interval[0] == pytest.approx(0.5)
    assert found.interval[1] == pytest.approx(0.75), "b alone: .5 and .5; a alone: .5 and 1"
    assert both.ua([0, 1]).value == pytest.approx(found.value), "where 2 may not be answered, 0 is: wrong for label 1"
    assert (found - both.ua(None)).interval == (0, 0), "the same speakers are drawn"


def test_one_speaker_has_no_interval() -> None:
    part = outcome([[True, True, False, True]], [0])
    alone = Outcome(part.stream, np.array(["a"] * 4), part.labels, part.probabilities)
    assert alone.ua(None).interval is None
    assert Estimate.mean([alone.ua(None), part.ua(None)]).interval is None


def test_confidence_counts_the_sure_answers() -> None:
    error, sure, right = outcome([[True, False, True, True]], [0]).confidence()
    assert (sure, right) == (1.0, 0.75)
    assert error == pytest.approx(0.15)
