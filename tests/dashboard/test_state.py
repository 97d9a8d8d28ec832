"""What the page makes of events, without a microphone: its modules, in the browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard.running import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.slow

FOLDER = ROOT / "edge" / "doors" / "web" / "page"
TIME = "2026-11-29T12:00:00.000+00:00"
SHOW = """async (events) => {
  const { State } = await import("/page/state.js");
  const { showUnreported, showLatencies } = await import("/page/unreported.js");
  const state = new State();
  for (const event of events) state.take({ source: "hall", time: "2026-11-29T12:00:00.000+00:00", ...event }, "run");
  window.state = state;
  showUnreported(state);
  showLatencies(state);
  return [...state.utterances.values()].map(({ state, start_ms, end_ms }) => [state, start_ms, end_ms]);
}"""


def answer(number: int, total: float = 500.0, **more: Any) -> dict[str, Any]:
    latency = {"total": total, "provisional": total / 2}
    known = {"type": "utterance", "id": number, "start_s": 1.0, "end_s": 2.0, "emotion": "sad", "confidence": 0.9}
    return known | {"latency_ms": latency, "speech": 0.9} | more


@pytest.fixture
def still(browser: Browser) -> Iterator[Page]:
    """A page that is told of nothing but by the test."""

    def answer(route: Route) -> None:
        name = route.request.url.rpartition("/")[2] or "index.html"
        route.fulfill(**{"body": ""} if name == "main.js" else {"path": FOLDER / name})

    page = browser.new_page()
    page.route("http://dashboard.test/**", answer)
    page.goto("http://dashboard.test/")
    yield page
    page.close()


def test_what_was_not_reported_is_counted_with_the_reason(still: Page) -> None:
    skipped = [{"type": "skipped", "id": number, "start_s": 1, "end_s": 2} for number in range(4)]
    events = [skipped[number] | {"reason": "too_slow", "message": "too slow"} for number in range(3)]
    events.append(skipped[3] | {"reason": "other_voice", "message": "another voice", "source": "desk"})
    events.append(answer(4, speech=0.2))
    events.append({"type": "status", "reason": "below_gate", "message": "nothing above -60 dBFS"})
    states = still.evaluate(SHOW, events)
    assert [state for state, *_ in states] == ["skipped"] * 4 + ["final"]
    shown = [entry.inner_text().split("\n") for entry in still.locator("#unreported li").all()]
    assert [(count, reason, where) for count, reason, where, _ in shown] == [
        ("3", "too slow", "hall"),
        ("1", "another voice", "desk"),
        ("1", "not speech?", "hall"),
        ("1", "too quiet now", "hall"),
    ]
    assert still.locator("#all-reported").is_hidden()


def test_a_trouble_that_is_over_is_counted_and_no_longer_now(still: Page) -> None:
    said = [{"type": "status", "reason": reason, "message": "…"} for reason in ("clipping", "recovered", "clipping")]
    still.evaluate(SHOW, said[:2])
    assert still.locator("#unreported .reason").all_inner_texts() == ["clipping"]
    still.evaluate(SHOW, said)
    assert still.locator("#unreported .reason").all_inner_texts() == ["clipping now"]
    assert still.locator("#unreported .count").all_inner_texts() == ["2"]


def test_latencies_are_percentiles_of_what_was_said(still: Page) -> None:
    totals = [float(number) for number in range(101, 201)]
    still.evaluate(SHOW, [answer(number, total) for number, total in enumerate(totals)])
    rows = [row.inner_text().split() for row in still.locator("#latencies tr").all()]
    assert rows == [["first", "75", "95", "100"], ["final", "150", "190", "199"]]
    assert still.locator("#latency-count").inner_text() == "in ms from the last word; of 100 utterances"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(totals=st.lists(st.floats(1, 1e4), min_size=1, max_size=50))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(still: Page, totals: list[float]) -> None:
    still.evaluate(SHOW, [answer(number, total) for number, total in enumerate(totals)])
    found = still.evaluate("window.state.percentiles('total', [50, 90, 99])")
    assert found == np.percentile(totals, (50, 90, 99), method="inverted_cdf").tolist()


def test_times_are_those_of_the_wall_clock(still: Page) -> None:
    """A source whose clock stood still, as while a machine sleeps, goes on where the wall clock is."""
    early = answer(1)
    late = answer(2, time="2026-11-29T12:10:00.000+00:00", start_s=3.0, end_s=4.0)
    (_, start_ms, end_ms), (_, later_ms, _) = still.evaluate(SHOW, [early, late])
    noon_ms = still.evaluate(f"Date.parse('{TIME}')")
    assert (start_ms - noon_ms, end_ms - noon_ms) == (-1500, -500)
    assert later_ms - noon_ms == 600_000 - 1500


ROW = """async (answer) => {
  const { Utterances } = await import("/page/utterances.js");
  const utterance = { id: 1, source: "hall", state: "final", start_ms: 0, end_ms: 900, withdrawn: [], answer };
  new Utterances({}).update(utterance);
}"""


def test_values_stand_in_the_row_with_their_ranges(still: Page) -> None:
    still.evaluate(ROW, answer(1))
    assert not still.locator("#values-head").is_visible()
    values = {
        "arousal": {"value": 0.5, "low": -1, "high": 1},
        "intensity": {"value": 2.25, "low": 1, "high": 6},
    }
    still.evaluate(ROW, answer(1, values=values))
    assert still.locator("#values-head").is_visible()
    cell = still.locator("#rows tr").first.locator("td.values")
    assert cell.locator(".figure").all_inner_texts() == ["0.50", "2.25"]
    assert cell.locator(".knob").evaluate_all("all => all.map(each => each.style.left)") == ["75%", "25%"]
    assert cell.locator(".zero").count() == 1
    assert cell.locator(".value").first.get_attribute("title") == "arousal 0.50, from -1 to 1"
