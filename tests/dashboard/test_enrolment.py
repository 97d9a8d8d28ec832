"""Enrolling and forgetting people in the dashboard, by a browser's microphone and by what it sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlencode

import numpy as np
import pytest

from dashboard.conftest import HOSTILE, started
from dashboard.running import Running, clips_of, free_port, post
from edge.daemon.people import People
from edge.doors import Inside, open_door
from edge.people.consent import CONSENT_VERSION
from edge.recent import RecentEvents
from edge.settings import WebSettings
from edge.vad import to_pcm

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from websockets.sync.client import ClientConnection

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A daemon of these tests' own: with those who are forgotten goes what others look at."""
    yield from started(tmp_path_factory.mktemp("dashboard"), free_port())


def people(running: Running) -> dict[str, dict[str, Any]]:
    return {person["name"]: person for person in running.ask("people")}


def begin(page: Page, name: str) -> None:
    """Go up to what is agreed to."""
    page.get_by_role("button", name="Enrol someone").click()
    page.get_by_role("textbox", name="Name").fill(name)
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name=f"Does {name} agree?").wait_for()


def test_nobody_is_enrolled_without_their_consent(page: Page, running: Running) -> None:
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    begin(page, "Cleo")
    said = page.get_by_role("region", name="What is agreed to").inner_text()
    assert "affectd is about to remember how Cleo sounds." in said
    assert "affectd speakers forget Cleo" in said
    page.get_by_role("button", name="Agree and start").click()
    assert page.get_by_role("checkbox", name="Cleo has read this, and agrees.").evaluate(
        "box => box.validity.valueMissing"
    )
    assert page.get_by_role("dialog", name="Does Cleo agree?").is_visible()
    page.keyboard.press("Escape")
    assert sockets == []
    assert "Cleo" not in people(running)


def test_a_name_that_is_none_is_refused_with_the_reason(page: Page) -> None:
    page.get_by_role("button", name="Enrol someone").click()
    page.get_by_role("textbox", name="Name").fill("a\u202eb")
    page.keyboard.press("Enter")
    page.get_by_role("alert").filter(has_text="1 to 64 characters, none of them a control character").wait_for()


def test_somebody_speaks_is_known_and_is_forgotten(page: Page, running: Running) -> None:
    begin(page, HOSTILE)
    page.get_by_role("checkbox", name="has read this, and agrees.").check()
    page.get_by_role("button", name="Agree and start").click()
    dialog = page.get_by_role("dialog", name=f"{HOSTILE} speaks")
    dialog.get_by_text("The ferry leaves the harbour").wait_for()
    dialog.get_by_text("1 of 8", exact=True).wait_for()
    assert dialog.get_by_role("listitem").first.inner_text().startswith("kept ")
    dialog.get_by_text("You won't believe it").wait_for()
    page.get_by_role("button", name="Finish now").click()
    done = page.get_by_role("dialog", name=f"{HOSTILE} is enrolled")
    done.get_by_text("at least 4 clips and 10 s would teach more").wait_for()
    done.get_by_role("button", name="Close").click()
    forget = page.get_by_role("button", name=f"Forget {HOSTILE}", exact=True)
    forget.wait_for()
    known = people(running)[HOSTILE]
    assert (known["state"], known["consent"]["how"]) == ("ready", "asked")
    assert known["consent"]["text_version"] == CONSENT_VERSION

    forget.click()
    sure = page.get_by_role("dialog", name=f"Forget {HOSTILE}?")
    sure.get_by_role("textbox").fill("somebody else")
    sure.get_by_role("button", name="Forget").click()
    assert sure.is_visible()
    sure.get_by_role("textbox").fill(HOSTILE)
    sure.get_by_role("button", name="Forget").click()
    forget.wait_for(state="detached")
    assert list(people(running)) == ["Ann"]


@contextmanager
def speaking(running: Running, **query: str) -> Iterator[ClientConnection]:
    """Yield a connection by which somebody enrols."""
    from websockets.sync.client import connect  # noqa: PLC0415  (an optional extra)

    wanted = urlencode({"name": "Ben", "consent": CONSENT_VERSION} | query)
    address = running.address.replace("http", "ws")
    with connect(f"{address}/enrol?{wanted}", origin=running.address, proxy=None) as socket:
        yield socket


def answers(socket: ClientConnection) -> list[Any]:
    """Return all that is answered from now on, but for levels."""
    return [answer for message in socket if (answer := json.loads(message))["type"] != "level"]


def test_it_ends_by_itself_when_it_is_enough(running: Running) -> None:
    with speaking(running, may_refine="true") as socket:
        for clip in [*clips_of("Ben"), *clips_of("Ann")]:
            socket.send(to_pcm(clip))
        ready, *takes, result = answers(socket)
    assert ready["type"] == "ready"
    assert ready["wanted"] == {"clips": 8, "speech_s": 20.0}
    assert len(ready["prompts"]) == 10
    assert [take["clips"] for take in takes] == sorted(take["clips"] for take in takes)
    assert result["type"] == "result"
    assert result["added"] >= 8
    assert result["recognisable"]
    assert people(running)["Ben"]["may_refine"]
    running.ask("forget", name="ben")


def test_what_a_browser_hears_is_taken_at_its_own_rate(running: Running) -> None:
    with speaking(running, rate="48000", format="f32") as socket:
        for clip in clips_of("Ben")[:2]:
            socket.send(np.repeat(clip, 3).astype("<f4").tobytes())
        socket.send("finish")
        *_, result = answers(socket)
    assert result["added"] == 2
    assert 2 < result["speech_s"] < 7
    running.ask("forget", name="Ben")


def test_who_leaves_keeps_what_was_said(running: Running) -> None:
    with speaking(running) as socket:
        socket.send(to_pcm(np.concatenate(clips_of("Ben")[:3])))
        while json.loads(socket.recv())["type"] != "take":
            pass
    with speaking(running, consent="") as socket:  # comes in once the other is done with
        answers(socket)
    assert people(running)["Ben"]["clips"] >= 1
    running.ask("forget", name="Ben")


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"consent": ""}, "Ben must agree to text 2 first, and not to none"),
        ({"consent": "1"}, "Ben must agree to text 2 first, and not to 1"),
        ({"name": ""}, "name '' is not allowed"),
        ({"rate": "11"}, "rate '11' is no sample rate"),
        ({"format": "u8"}, "format 'u8' is not one of s16, f32"),
    ],
)
def test_what_does_not_work_is_said_in_the_connection(running: Running, query: dict[str, str], error: str) -> None:
    with speaking(running, **query) as socket:
        *_, answer = answers(socket)
    assert answer["type"] == "error"
    assert error in answer["error"]
    assert "Ben" not in people(running)


def test_one_person_at_a_time(running: Running) -> None:
    with speaking(running) as first:
        first.recv()
        with speaking(running, name="Cleo") as second:
            (refused,) = answers(second)
        first.send("finish")
        (result,) = answers(first)
    assert refused == {"type": "error", "error": "somebody else is enrolling at this moment: wait until they are done"}
    assert (result["type"], result["clips"]) == ("result", 0)


def test_only_the_dashboard_may_ask_about_people() -> None:
    everyone = People(lambda: pytest.fail("nobody may ask"), RecentEvents())
    for dashboard, status in ((False, 404), (True, 400)):
        settings = WebSettings(address=f"127.0.0.1:{free_port()}", dashboard=dashboard)
        door = open_door(settings, Inside({}, RecentEvents(), everyone))
        try:
            door.open()
            with pytest.raises(HTTPError) as refusal:
                post(f"http://{settings.address}", "forget", {})
            assert refusal.value.code == status
        finally:
            door.close()
