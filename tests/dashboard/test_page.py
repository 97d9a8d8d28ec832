"""What the dashboard shows, and what can be done with it."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.conftest import HALL_PORT, HOSTILE
from dashboard.running import Running, conversation, say, speaking_at
from edge.audio import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def events(running: Running) -> list[dict[str, Any]]:
    """What any other program is told of the same conversation."""
    return [event for event in running.events() if event["source"] == "talk"]


def row_texts(page: Page, source: str) -> list[list[str]]:
    """Return the cells of the utterances of a source, the earliest first."""
    rows = page.locator("#rows tr").filter(has=page.get_by_role("cell", name=source, exact=True))
    return [row.locator("th, td").all_inner_texts() for row in reversed(rows.all())]


def test_the_table_shows_what_the_events_say(page: Page, events: list[dict[str, Any]]) -> None:
    page.wait_for_function("document.querySelectorAll('#rows tr.final').length >= 6")
    rows = row_texts(page, "talk")
    finals = [event for event in events if event["type"] == "utterance"]
    assert len(rows) == len(finals) == 6
    for (time, _, speaker, emotion, confidence, than, latency), event in zip(rows, finals, strict=True):
        assert re.fullmatch(r"\d\d:\d\d:\d\d\s*\d+\.\d s", time)
        assert speaker == (event["speaker"] or {"name": "stranger"})["name"]
        assert emotion.split()[-1] == event["emotion"]
        assert f"{round(event['confidence'] * 100)} %" in confidence
        assert ("?" in confidence) == event["needs_review"]
        assert bool(than) == ("relative" in event)
        assert latency.endswith(" ms")
    assert "Ann" in [row[2] for row in rows]
    withdrawn = page.locator("#rows tr s").all_inner_texts()
    assert len(withdrawn) == len([event for event in events if event["type"] == "resumed"]) > 0


def stop_the_clock(page: Page, at: datetime) -> None:
    """Show the lanes as they are at a time, however long ago that is."""

    def answer(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, headers=reply.headers | {"date": format_datetime(at)})

    page.route("**/status", answer)
    page.clock.set_fixed_time(at)
    page.reload()


def test_the_lanes_show_the_same(page: Page, events: list[dict[str, Any]]) -> None:
    stop_the_clock(page, datetime.fromisoformat(events[-1]["time"]))
    lane = page.locator(".lane").filter(has=page.get_by_role("heading", name="talk", exact=True))
    blocks = lane.locator(".block.final")
    blocks.nth(5).wait_for(state="attached")
    finals = [event for event in events if event["type"] == "utterance"]
    assert blocks.count() == 6
    for block, event in zip(blocks.all(), finals, strict=True):
        assert f"is-{event['emotion']}" in (block.get_attribute("class") or "")
        box, per_s = block.bounding_box(), lane.locator(".view").bounding_box()["width"] / 60  # type: ignore[index]
        assert box
        assert box["width"] == pytest.approx((event["end_s"] - event["start_s"]) * per_s, abs=2)
    words = lane.locator(".word").all_inner_texts()
    assert [word.rstrip("?") for word in words] == [event["emotion"] for event in finals]
    lefts = [block.bounding_box()["x"] for block in blocks.all()]  # type: ignore[index]
    assert lefts == sorted(lefts)
    assert "6 utterances shown" in (lane.locator(".view").get_attribute("aria-label") or "")


def test_arrow_keys_walk_the_utterances_of_a_lane(page: Page, events: list[dict[str, Any]]) -> None:
    stop_the_clock(page, datetime.fromisoformat(events[-1]["time"]))
    finals = [event for event in events if event["type"] == "utterance"]
    lane = page.get_by_role("listbox", name=re.compile(r"^talk: 6 utterances shown"))
    lane.focus()
    assert lane.get_by_role("option", selected=True).count() == 0

    def reached(key: str) -> int:
        """Return which utterance a key leads to, as it is marked, told to a screen reader, and written."""
        page.keyboard.press(key)
        option = lane.get_by_role("option", selected=True)
        label = option.get_attribute("aria-label") or ""
        assert lane.get_attribute("aria-activedescendant") == option.get_attribute("id")
        assert lane.locator(".caption").inner_text() == label
        (found,) = [
            number for number, event in enumerate(finals) if option.get_attribute("id") == f"utterance-{event['id']}"
        ]
        assert re.match(rf"\d\d:\d\d:\d\d, talk: \w+, {finals[found]['emotion']}, ", label)
        return found

    assert [reached(key) for key in ("ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowRight")] == [5, 4, 5, 5]
    assert [reached(key) for key in ("Home", "ArrowLeft", "ArrowRight")] == [0, 0, 1]
    page.get_by_role("radio", name="30 s").check()  # which draws everything anew
    lane.focus()
    assert reached("ArrowRight") == 2
    page.keyboard.press("Tab")
    assert not lane.locator(".caption").is_visible()


WATCH = """lane => {
  window.seen = [];
  const look = () => {
    for (const block of lane.querySelectorAll(".block")) {
      const ghost = block.querySelector(".withdrawn s");
      const border = getComputedStyle(block.querySelector(".bar")).borderTopStyle;
      const state = [...block.classList].find((name) => name !== "block" && name !== "odd");
      window.seen.push([state, border, ghost?.textContent ?? ""].join(" ").trim());
    }
  };
  new MutationObserver(look).observe(lane, { subtree: true, childList: true, attributes: true });
}"""


def test_a_provisional_answer_is_withdrawn_and_then_final(page: Page) -> None:
    samples = conversation()
    lane = page.locator(".lane").filter(has=page.get_by_role("heading", name="hall", exact=True))
    lane.evaluate(WATCH)
    with speaking_at(HALL_PORT) as connection:
        say(connection, samples[round(5.5 * SAMPLE_RATE_HZ) : round(8.3 * SAMPLE_RATE_HZ)])
        lane.locator(".meter[data-heard=voice]").wait_for()
        lane.locator(".block.final").wait_for()
    seen = list(dict.fromkeys(page.evaluate("window.seen")))
    assert seen[:2] == ["speaking none", "provisional dashed"]
    states, emotions = zip(*(each.rsplit(" ", 1) for each in seen[2:]), strict=True)
    assert states == ("speaking none", "provisional dashed", "final none")
    assert set(emotions) <= {"neutral", "happy", "sad", "angry", "fear", "disgust", "surprise"}
    page.wait_for_function("document.getElementById('announcements').textContent.startsWith('hall: ')")
    assert "percent" in page.locator("#announcements").inner_text()


def test_a_source_is_paused_and_resumed_by_keyboard_alone(page: Page, running: Running) -> None:
    page.get_by_role("button", name="Pause hall").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Pause hall?")
    dialog.wait_for()
    assert page.evaluate("document.activeElement.tagName") == "SELECT"
    page.keyboard.press("ArrowDown")
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    resume = page.get_by_role("button", name="Resume hall")
    resume.wait_for()
    assert {source["name"]: source["state"] for source in running.ask("status")["sources"]}["hall"] == "paused"
    page.keyboard.press("Enter")  # the focus is where it was
    page.get_by_role("button", name="Pause hall").wait_for()
    assert dialog.count() == 0


def test_a_room_is_reset_after_asking(page: Page, running: Running) -> None:
    page.get_by_role("button", name="Reset the room of hall").click()
    dialog = page.get_by_role("dialog", name="Reset the room of hall?")
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    with page.expect_request("**/do/reset_room") as request:
        page.get_by_role("button", name="Reset the room of hall").click()
        dialog.get_by_role("button", name="Reset").click()
    assert request.value.post_data_json == {"source": "hall"}
    assert request.value.response().json() == {"answer": {"reset": ["hall"]}}  # type: ignore[union-attr]


def test_names_are_text_whatever_is_in_them(page: Page) -> None:
    page.get_by_role("heading", name=HOSTILE, exact=True).wait_for()
    assert page.locator("main img, aside img").count() == 0
    page.get_by_role("button", name=f"Pause {HOSTILE}", exact=True).click()
    page.get_by_role("dialog", name=f"Pause {HOSTILE}?").wait_for()
    page.keyboard.press("Escape")


FOCUSED = """(() => {
  const on = document.activeElement;
  const seen = on.matches(".segments input") ? on.nextElementSibling : on;
  return [on.ariaLabel ?? on.name ?? on.id, getComputedStyle(seen).outlineStyle];
})()"""


def test_everything_is_reached_by_tab_and_the_focus_is_seen(page: Page) -> None:
    page.get_by_role("button", name="Forget Ann").wait_for()
    page.keyboard.press("Tab")
    reached = []
    while (focused := page.evaluate(FOCUSED)) and len(reached) < 40 and focused[0] != "Forget Ann":
        assert focused[1] != "none", focused
        reached.append(focused[0])
        page.keyboard.press("Tab")
    assert {"theme", "window", "Pause hall", "Reset the room of hall", "Table of utterances"} <= set(reached)
    assert focused[0] == "Forget Ann"
