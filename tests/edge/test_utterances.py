import threading

import numpy as np
import pytest

from edge.bundle import Bundle
from edge.event import Event
from edge.people.household import Household
from edge.segment import Segment
from edge.segmenter import Segmenter
from edge.settings import Settings
from edge.stream import Stream, Utterance
from edge.utterances import UtteranceQueue
from helpers.running import Played
from helpers.signals import silence

Item = list[str] | Event


@pytest.fixture
def streams(bundle: Bundle) -> dict[str, Stream]:
    """Three live streams a to c, and one that can wait, w."""
    settings = Settings()
    return {
        name: Stream(
            Played(silence(0.1), can_wait=name == "w", name=name),
            Segmenter(settings.vad, settings.segmenter),
            Household(bundle, settings.speakers),
        )
        for name in "abcw"
    }


def utterance(stream: Stream, number: int) -> Utterance:
    segment = Segment(np.zeros(10, np.float32), float(number), number + 1.0, number + 1.5)
    return Utterance(stream, stream.name, segment, 0.0, 0.0, 1.0, 0.0)


def labels(utterances: list[Utterance]) -> list[str]:
    return [f"{utterance.source}{utterance.segment.start_s:.0f}" for utterance in utterances]


def left_in(queue: UtteranceQueue) -> tuple[list[str], list[str]]:
    """Return the utterances that come out of a queue, and those that were skipped, by source and time."""
    queue.close()
    out: list[str] = []
    skipped: list[str] = []
    for item in queue:
        if isinstance(item, Event):
            assert item.type == "skipped"
            skipped.append(f"{item.source}{item.start_s:.0f}")
        else:
            out += labels(item)
    return out, skipped


def put(queue: UtteranceQueue, streams: dict[str, Stream], order: str) -> None:
    """Put utterances of the streams that ``order`` names, numbered from 0."""
    for number, name in enumerate(order):
        queue.put(utterance(streams[name], number))


@pytest.mark.parametrize(
    ("order", "out", "skipped"),
    [
        ("aaa", "a0 a1 a2", ""),
        ("aaaaa", "a2 a3 a4", "a0 a1"),
        ("aab", "a0 a1 b2", ""),
        ("aabb", "a1 b2 b3", "a0"),
        ("baab", "b0 a2 b3", "a1"),
        ("abbb", "a0 b2 b3", "b1"),
        ("abcc", "a0 b1 c3", "c2"),
        ("caba", "c0 b2 a3", "a1"),
        ("aabbc", "a1 b3 c4", "a0 b2"),
    ],
)
def test_the_oldest_of_the_busiest_stream_is_dropped(
    order: str, out: str, skipped: str, streams: dict[str, Stream]
) -> None:
    queue = UtteranceQueue(max_utterances=3, max_batch=8)
    put(queue, streams, order)
    assert left_in(queue) == (out.split(), skipped.split())


def test_a_skipped_event_has_the_source_and_time_of_its_utterance(streams: dict[str, Stream]) -> None:
    queue = UtteranceQueue(max_utterances=2, max_batch=8)
    put(queue, streams, "aba")
    event = next(iter(queue))
    assert isinstance(event, Event)
    assert (event.source, event.start_s, event.end_s) == ("a", 0.0, 1.0)
    assert event.message == "the encoder is too slow: 2 newer utterances were waiting"


def test_what_can_wait_is_neither_dropped_nor_in_the_way(streams: dict[str, Stream]) -> None:
    queue = UtteranceQueue(max_utterances=2, max_batch=8)
    put(queue, streams, "ww")
    waiting = threading.Thread(target=put, args=(queue, streams, "w"))
    waiting.start()
    put(queue, streams, "aba")
    waiting.join(0.1)
    assert waiting.is_alive()
    events_and_utterances = [next(iter(queue)) for _ in range(2)]
    waiting.join(10)
    assert not waiting.is_alive()
    skipped, first = events_and_utterances
    assert isinstance(skipped, Event)
    assert skipped.source == "a"
    assert isinstance(first, list)
    assert labels(first) == ["w0", "w1", "b1", "a2"]
    assert left_in(queue) == (["w0"], [])


def test_batches_are_bounded_and_in_order(streams: dict[str, Stream]) -> None:
    queue = UtteranceQueue(max_utterances=8, max_batch=3)
    put(queue, streams, "abcabca")
    queue.close()
    batches = [labels(item) for item in queue if isinstance(item, list)]
    assert batches == [["a0", "b1", "c2"], ["a3", "b4", "c5"], ["a6"]]


def test_the_error_comes_after_everything_else(streams: dict[str, Stream]) -> None:
    queue = UtteranceQueue(max_utterances=8, max_batch=8)
    put(queue, streams, "ab")
    queue.close(ValueError("torn"))
    items = iter(queue)
    assert isinstance(next(items), list)
    with pytest.raises(ValueError, match="torn"):
        next(items)


def test_the_reader_looks_up_although_nobody_wakes_it() -> None:
    """A signal that arrives just before a wait is only handled after it, so that no wait may be without an end."""
    queue = UtteranceQueue(max_utterances=8, max_batch=8)
    looked = threading.Event()

    class Counted(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            if looked.is_set():
                queue._closed = True
            looked.set()
            return super().wait(timeout)

    queue._changed = Counted()
    assert list(queue) == []
