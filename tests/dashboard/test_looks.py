"""How the dashboard looks, for whom it can be used, and what it does when affectd ends."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.conftest import opened
from dashboard.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

BACKGROUND = "getComputedStyle(document.body).backgroundColor"
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"


def brightness(page: Page) -> int:
    red: str = page.evaluate(BACKGROUND)
    return int(red.removeprefix("rgb(").split(",")[0])


def findings(page: Page) -> list[Any]:
    """Return what axe finds wrong."""
    axe = pytest.importorskip("axe_playwright_python", reason="accessibility is checked by axe-playwright-python")
    page.evaluate((files(axe) / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found]


def enrolment(page: Page, name: str) -> None:
    page.get_by_role("button", name="Enrol someone").click()
    page.get_by_role("textbox", name="Name").fill(name)
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name=f"Does {name} agree?").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.wait_for_selector("#rows tr.final")
    page.get_by_role("button", name="Forget Ann").wait_for()
    assert findings(page) == []
    enrolment(page, "Cleo")
    assert findings(page) == []


def test_light_and_dark_are_as_the_device_has_them_or_as_chosen(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    assert brightness(page) > 200
    page.emulate_media(color_scheme="dark")
    assert brightness(page) < 40
    page.get_by_role("radio", name="Light").check()
    assert brightness(page) > 200
    page.reload()
    assert page.get_by_role("radio", name="Light").is_checked()
    assert brightness(page) > 200
    page.get_by_role("radio", name="Auto").check()
    assert brightness(page) < 40


def test_on_a_phone_nothing_is_beside_the_screen(browser: Browser, running: Running) -> None:
    page, trouble = opened(browser, running.address, viewport={"width": 360, "height": 740}, has_touch=True)
    page.wait_for_selector("#rows tr.final")
    page.get_by_role("button", name="Forget Ann").wait_for()
    assert page.evaluate(OVERFLOW) <= 0
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    enrolment(page, "A name as long as names may be, and without any end in sight, ye")
    assert page.evaluate(OVERFLOW) <= 0
    box = page.get_by_role("dialog").bounding_box()
    assert box
    assert box["x"] + box["width"] <= 360
    assert trouble == []
    page.close()


def test_who_prefers_less_motion_gets_a_step_a_second(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.wait_for_timeout(1_100)
    count = """new Promise((done) => {
      let steps = 0;
      new MutationObserver(() => steps++).observe(document.querySelector(".axis"), { attributes: true });
      setTimeout(() => done(steps), 1500);
    })"""
    assert page.evaluate(count) <= 2
    assert page.locator(".meter .fill").first.evaluate("fill => getComputedStyle(fill).transitionDuration") == "0s"


def test_it_says_so_when_affectd_ends_and_goes_on_when_it_is_back(
    browser: Browser, tmp_path: Path, bundle_folder: Path
) -> None:
    settings = f'[encoder]\nbundle = "{bundle_folder}"\n[[sources]]\nname = "hall"\nsource = "unix:{tmp_path}/hall"\n'
    running = Running(tmp_path, settings, token="ein langes Geheimnis für 9 €")
    try:
        running.start()
        page, trouble = opened(browser, f"{running.address}/?token=ein+langes+Geheimnis+f%C3%BCr+9+%E2%82%AC")
        page.wait_for_selector("#connection[data-is=connected]")
        assert page.url == f"{running.address}/"
        assert f"the dashboard will be at {running.address}" in (tmp_path / "log").read_text()
        first = page.evaluate("performance.getEntriesByType('resource').filter(e => e.name.includes('/page/')).length")
        assert first > 10
        assert trouble == []
        running.stop()
        page.get_by_text("not connected").wait_for()
        assert page.get_by_role("button", name="Pause hall").is_disabled()
        running.start()
        page.get_by_text("hears nobody").wait_for()
        page.reload()  # the token is kept
        page.wait_for_selector("#connection[data-is=connected]")

        stranger, _ = opened(browser, running.address)
        dialog = stranger.get_by_role("dialog", name="This dashboard needs its token")
        dialog.get_by_label("Token").fill("another one")
        dialog.get_by_role("button", name="Go on").click()
        dialog.get_by_text("That was not it.").wait_for()
        assert stranger.locator(".lane").count() == 0
        dialog.get_by_label("Token").fill("ein langes Geheimnis für 9 €")
        dialog.get_by_role("button", name="Go on").click()
        stranger.wait_for_selector("#connection[data-is=connected]")
        stranger.get_by_role("heading", name="hall").wait_for()
    finally:
        running.stop()
