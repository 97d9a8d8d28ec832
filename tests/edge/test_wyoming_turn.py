"""Messages and audio of Wyoming, in any pieces."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wyoming.event import Event, async_read_event, async_write_event

from edge.capture.base import BlockQueue
from edge.capture.wyoming.messages import (
    Message,
    WyomingError,
    info_in_front,
    read_message,
    select_behind,
)
from edge.capture.wyoming.turn import STALE_S, Chunk, Turn, blocks_of_turn, decoded
from edge.event import Event as Said
from edge.event import SpeakerMatch

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DATA = st.dictionaries(st.text(), JSON, max_size=4)


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


class Written:
    """In the place of a writer: what is written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def writelines(self, lines: tuple[bytes, ...]) -> None:
        self.data += b"".join(lines)

    async def drain(self) -> None:
        pass


@given(st.text(min_size=1), DATA, st.binary(max_size=100))
def test_messages_are_read_as_the_others_write_them_and_the_other_way_round(
    kind: str, data: dict[str, object], payload: bytes
) -> None:
    async def there_and_back() -> None:
        ours = await async_read_event(reader_of(Message(kind, data, payload).packed()))
        assert ours is not None
        assert (ours.type, ours.data, ours.payload or b"") == (kind, data, payload)
        written = Written()
        with suppress(UnicodeEncodeError):  # which has no surrogates
            await async_write_event(Event(kind, data, payload), written)  # type: ignore[arg-type]
            reader = reader_of(written.data * 2)
            for _ in range(2):
                theirs = await read_message(reader)
                assert theirs is not None
                assert (theirs.type, theirs.data, theirs.payload) == (kind, data, payload)
                assert theirs.packed() == written.data
            assert await read_message(reader) is None

    asyncio.run(there_and_back())


@given(st.binary(max_size=300))
def test_anything_else_is_refused(data: bytes) -> None:
    async def read() -> None:
        reader = reader_of(data)
        with suppress(WyomingError):
            while await read_message(reader):
                pass

    asyncio.run(read())


@given(DATA)
def test_any_description_is_passed_on(data: dict[str, object]) -> None:
    for info in (data, {"asr": list(data.values())}, {"asr": [data]}):
        changed = info_in_front(Message("info", info))
        assert changed.data.keys() == info.keys()
    context = Message("transcript", {"text": "a", "context": data}).with_context(None).data["context"]
    assert context == {**data, "affectd": None}
    assert Message("transcript", {"context": [1]}).with_context({}).data["context"] == {"affectd": {}}
    assert select_behind(Message("select-program", data)).data == data


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_pcm_of_every_width(width: int) -> None:
    bits = 8 * width
    values = np.array([[0, -(2 ** (bits - 1))], [2 ** (bits - 2), 2 ** (bits - 1) - 1]])
    data = b"".join(
        int(value + (128 if width == 1 else 0)).to_bytes(width, "little", signed=width > 1) for value in values.flat
    )
    expected = values / 2.0 ** (bits - 1)
    assert decoded(data, width, 2) == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.integers(0, 4_000), max_size=8), st.sampled_from([(1, 1), (2, 1), (2, 2), (3, 2), (4, 1)]))
def test_how_audio_is_cut_makes_no_difference(cuts: list[int], sort: tuple[int, int]) -> None:
    width, channels = sort
    data = np.random.default_rng(0).bytes(4_000 * width)
    places = sorted({0, len(data), *cuts})
    whole, cut = (
        heard([Chunk(48_000, width, channels, data[a:b]) for a, b in pairwise(ends)])
        for ends in ([0, len(data)], places)
    )
    assert len(whole) == pytest.approx(4_000 // channels / 3, abs=2)
    assert cut == pytest.approx(whole, abs=1e-6)


def test_another_format_begins_anew() -> None:
    first, second = Chunk(16_000, 2, 1, bytes(1_920)), Chunk(8_000, 2, 2, bytes(1_920))
    queue: BlockQueue[Chunk] = BlockQueue(10)
    for chunk in (first, second):
        queue.put(chunk, chunk.duration_s)
    queue.close()
    blocks = [block for block in blocks_of_turn(queue) if block and block.arrived is not None and len(block.arrived)]
    assert [block.restarted for block in blocks] == [True, False, True, False]
    assert [(block.rate_hz, block.arrived.shape) for block in blocks if block.arrived is not None] == [
        (16_000, (480, 1)),
        (16_000, (480, 1)),
        (8_000, (240, 2)),
        (8_000, (240, 2)),
    ]


def said(id_: int, kind: Literal["utterance", "skipped"], emotion: str = "sad") -> Said:
    return Said(
        kind, "hall", "now", id=id_, number=10 * id_, emotion=emotion, confidence=0.5, speaker=SpeakerMatch("Ann", 0.9)
    )


def test_the_last_answer_counts_and_voices_are_told_in_pairs() -> None:
    async def listen() -> None:
        told: list[Message] = []
        turn = Turn("somebody", 10.0, told.append)
        await turn.put(Chunk(16_000, 2, 1, bytes(3_200)))
        for id_, at_s in ((1, 0.2), (2, 1.0)):
            turn.spoken(id_, "started", at_s)
            turn.spoken(id_, "ended", at_s + 0.5)
        turn.answered(said(1, "utterance"))
        turn.heard()
        turn.end()
        answer = asyncio.ensure_future(turn.answer())
        await asyncio.sleep(0)
        assert not answer.done(), "the second utterance is not answered"
        turn.answered(said(2, "utterance", "angry"))
        assert await answer == {
            "speaker": {"name": "Ann", "score": 0.9},
            "emotion": "angry",
            "confidence": 0.5,
            "needs_review": False,
            "scores": {},
            "event": 20,
        }
        turn.spoken(3, "started", 2.0)
        assert [(message.type, message.data["timestamp"]) for message in told] == [
            ("voice-started", 200),
            ("voice-stopped", 700),
            ("voice-started", 1_000),
            ("voice-stopped", 1_500),
        ]

    asyncio.run(listen())


def test_what_is_left_out_is_nobody_and_a_voice_that_goes_on_stops_with_the_words() -> None:
    async def listen() -> None:
        told: list[Message] = []
        turn = Turn("somebody", 10.0, told.append)
        await turn.put(Chunk(16_000, 2, 1, bytes(32_000)))
        turn.spoken(1, "started", 0.2)
        turn.answered(said(1, "skipped"))
        turn.heard()
        assert await turn.answer() is None
        assert [(message.type, message.data["timestamp"]) for message in told] == [
            ("voice-started", 200),
            ("voice-stopped", 1_000),
        ]

    asyncio.run(listen())


def test_a_sample_now_and_then_does_not_keep_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])

    async def listen() -> None:
        turn = Turn("somebody", 10.0, [].append)
        for _ in range(3):
            now_s[0] += 9
            await turn.put(Chunk(16_000, 2, 1, bytes(2)))
        assert turn.keeps_until_s < now_s[0] + 1
        await turn.put(Chunk(16_000, 2, 1, bytes(64_000)))
        assert turn.keeps_until_s == now_s[0] + STALE_S

    asyncio.run(listen())


def heard(chunks: list[Chunk]) -> np.ndarray:
    queue: BlockQueue[Chunk] = BlockQueue(100)
    for chunk in chunks:
        queue.put(chunk, chunk.duration_s)
    queue.close()
    return np.concatenate([block.samples for block in blocks_of_turn(queue) if block])
