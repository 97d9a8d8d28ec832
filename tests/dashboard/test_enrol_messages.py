"""Whatever a client of ``/enrol`` sends, it is told what came of it, and the next one is let in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.running import free_port
from edge.actions import Actions
from edge.capture import Source
from edge.doors import Inside, open_door
from edge.guided_enrolment import Enough, View
from edge.people.enrolment import Enrolled
from edge.recent import RecentEvents
from edge.settings import WebSettings

pytest.importorskip("aiohttp", reason="the dashboard needs the extra web")
sync_client = pytest.importorskip("websockets.sync.client", reason="the test is a client of WebSockets")

MESSAGES = st.lists(st.binary(max_size=4_000) | st.text(max_size=20), max_size=6)
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=10),
        "rate": st.sampled_from(["8000", "16000", "44100", "192000", "0", "1e4", ""]) | st.text(max_size=6),
        "format": st.sampled_from(["s16", "f32", "u8"]),
        "codec": st.sampled_from(["pcm", "opus", "mp3"]),
        "may_refine": st.sampled_from(["true", "1", ""]),
        "consent": st.sampled_from(["2", "", "-"]),
    },
)


class Everyone:
    """People who are enrolled by hearing them to the end; ``heard_s`` is what was heard of the latest."""

    def __init__(self) -> None:
        self.actions: Actions = {}
        self.heard_s = 0.0

    def enrol(
        self, name: str, consent_version: str, may_refine: bool, source: Source, enough: Enough, view: View
    ) -> Enrolled:
        self.heard_s = 0.0
        for block in source.blocks():
            self.heard_s += len(block.samples) / 16_000
            view.follow(block.samples, False)
        return Enrolled(name, 0, 0, 0, 0.0, 0.0, None, False, (), ())


@pytest.fixture(scope="module")
def everyone() -> Everyone:
    return Everyone()


@pytest.fixture(scope="module")
def address(everyone: Everyone) -> Iterator[str]:
    door_settings = WebSettings(address=f"127.0.0.1:{free_port()}", dashboard=True)
    door = open_door(door_settings, Inside({}, RecentEvents(), everyone))
    door.open()
    yield door_settings.address
    door.close()


def conversation(address: str, query: dict[str, str], messages: list[bytes | str]) -> list[dict[str, Any]]:
    """Say something, and return what is answered."""
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415  (an optional extra)

    with sync_client.connect(f"ws://{address}/enrol?{urlencode(query)}", proxy=None, close_timeout=5) as socket:
        try:
            for message in [*messages, "finish"]:
                socket.send(message)
        except ConnectionClosed:
            pass  # what the query says is refused at once
        return [json.loads(answer) for answer in socket]


@settings(max_examples=60)
@given(query=QUERIES, messages=MESSAGES)
def test_every_conversation_has_an_end(address: str, query: dict[str, str], messages: list[bytes | str]) -> None:
    *_, last = conversation(address, query, messages)
    assert last["type"] in ("result", "error")
    assert last["type"] == "result" or last["error"]


@settings(max_examples=20)
@given(sizes=st.lists(st.integers(0, 3_000), min_size=1, max_size=6), format=st.sampled_from(["s16", "f32"]))
def test_samples_may_be_cut_anywhere(address: str, everyone: Everyone, sizes: list[int], format: str) -> None:
    messages: list[bytes | str] = [bytes(size) for size in sizes]
    *_, last = conversation(address, {"format": format, "name": "Ann"}, messages)
    samples = sum(sizes) // (4 if format == "f32" else 2)
    assert last["type"] == ("result" if samples else "error")
    assert everyone.heard_s == pytest.approx(samples / 16_000)
