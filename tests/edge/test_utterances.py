import threading

import numpy as np
import pytest

from edge.bundle import Bundle
from edge.event import Event
from edge.people.household import Household
from edge.segment import Segment, StepKind
from edge.segmenter import Segmenter
from edge.settings import Settings
from edge.stream import Stream, Utterance
from edge.utterances import Items, UtteranceQueue
from helpers.running import Played
from helpers.signals import silence


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


def utterance(stream: Stream, number: int, step: StepKind = "provisional") -> Utterance:
    segment = Segment(np.zeros(10, np.float32), float(number), number + 1.0, number + 1.5)
    id_ = 1_000 * ord(stream.name) + number
    return Utterance(stream, stream.name, id_, step, segment, 0.0, 0.0, 1.0, 0.0)


def labels(items: Items, step: str = "provisional") -> list[str]:
    return [label(item) for item in items if isinstance(item, Utterance) and item.step == step]


def label(item: Utterance | Event) -> str:
    assert item.id is not None
    return f"{item.source}{item.id % 1_000}"


def steps(queue: UtteranceQueue) -> list[str]:
    """Return what is left in a queue, each step or event with its label."""
    queue.close()
    return [
        f"{label(item)} {item.step if isinstance(item, Utterance) else item.type}" for items in queue for item in items
    ]


def left_in(queue: UtteranceQueue) -> tuple[list[str], list[str]]:
    """Return the utterances that come out of a queue, and those that were skipped, by source and number."""
    seen = steps(queue)
    out = [text.removesuffix(" ended") for text in seen if text.endswith(" ended")]
    assert [text.removesuffix(" provisional") for text in seen if text.endswith(" provisional")] == out
    return out, [text.removesuffix(" skipped") for text in seen if text.endswith(" skipped")]


def put(queue: UtteranceQueue, streams: dict[str, Stream], order: str) -> None:
    """Put utterances of the streams that ``order`` names, numbered from 0."""
    for number, name in enumerate(order):
        queue.put(utterance(streams[name], number))
        queue.put(utterance(streams[name], number, "ended"))


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
    (event,) = next(iter(queue))
    assert isinstance(event, Event)
    assert (event.source, event.id, event.start_s, event.end_s) == ("a", 97_000, 0.0, 1.0)
    assert event.reason == "too_slow"
    assert event.message == "the encoder is too slow: 2 newer utterances were waiting"


def test_what_can_wait_is_neither_dropped_nor_in_the_way(streams: dict[str, Stream]) -> None:
    queue = UtteranceQueue(max_utterances=2, max_batch=8)
    put(queue, streams, "ww")
    waiting = threading.Thread(target=put, args=(queue, streams, "w"))
    waiting.start()
    put(queue, streams, "aba")
    waiting.join(0.1)
    assert waiting.is_alive()
    first = next(iter(queue))
    waiting.join(10)
    assert not waiting.is_alive()
    assert [item.source for item in first if isinstance(item, Event)] == ["a"]
    assert labels(first) == ["w0", "w1", "b1", "a2"]
    assert left_in(queue) == (["w0"], [])


def test_batches_are_bounded_and_in_order(streams: dict[str, Stream]) -> None:
    queue = UtteranceQueue(max_utterances=8, max_batch=3)
    put(queue, streams, "abcabca")
    queue.close()
    batches = list(queue)
    assert [labels(items) for items in batches] == [["a0", "b1", "c2"], ["a3", "b4", "c5"], ["a6"]]
    assert [labels(items, "ended") for items in batches] == [["a0", "b1", "c2"], ["a3", "b4", "c5"], ["a6"]]


def test_what_needs_no_encoder_does_not_wait_for_it(streams: dict[str, Stream]) -> None:
    queue = UtteranceQueue(max_utterances=8, max_batch=3)
    for number, step in ((0, "ended"), (1, "started"), (1, "provisional"), (1, "resumed"), (1, "provisional")):
        queue.put(utterance(streams["w"], number, step))
    queue.close()
    assert [[item.step for item in items] for items in queue] == [
        ["ended", "started"],
        ["provisional", "resumed", "provisional"],
    ]


def test_a_provisional_step_that_was_not_taken_yet_is_withdrawn_without_a_word(streams: dict[str, Stream]) -> None:
    queue = UtteranceQueue(max_utterances=8, max_batch=3)
    for name in "aw":
        for step in ("started", "provisional", "resumed", "provisional", "ended"):
            queue.put(utterance(streams[name], 1, step))
    assert steps(queue) == [
        *(f"a1 {step}" for step in ("started", "provisional", "ended")),
        *(f"w1 {step}" for step in ("started", "provisional", "resumed", "provisional", "ended")),
    ], "what can wait is complete, however fast it is read"


def test_one_that_was_dropped_in_a_pause_is_skipped_unless_they_go_on(streams: dict[str, Stream]) -> None:
    queue = UtteranceQueue(max_utterances=1, max_batch=8)
    for name, step in (
        ("a", "started"), ("a", "provisional"),
        ("b", "started"), ("b", "provisional"),
        ("c", "started"), ("c", "provisional"),
        ("a", "ended"), ("b", "resumed"), ("b", "provisional"), ("b", "ended"), ("c", "ended"),
    ):  # fmt: skip
        queue.put(utterance(streams[name], 1, step))
    assert steps(queue) == [
        "a1 started", "b1 started", "c1 started", "a1 skipped", "b1 provisional", "b1 ended", "c1 skipped",
    ]  # fmt: skip


def test_a_partial_step_never_waits_behind_or_before_anything(streams: dict[str, Stream]) -> None:
    queue = UtteranceQueue(max_utterances=8, max_batch=8)
    queue.put(utterance(streams["a"], 0, "partial"))
    assert [item.step for item in next(iter(queue))] == ["partial"]
    queue.put(utterance(streams["a"], 0, "partial"))
    queue.put(utterance(streams["b"], 1))
    queue.put(utterance(streams["a"], 0, "partial"))
    assert steps(queue) == ["b1 provisional"]


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
    assert not any(queue)
