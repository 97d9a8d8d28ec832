"""Fixtures: one browser, and one ``affectd run``, for all that does not end it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dashboard.running import (
    CONVERSATION,
    PEOPLE,
    Running,
    browser_options,
    chromium,
    clips_of,
    free_port,
    microphone_file,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = '<img src=x onerror="document.title=1">'
"""A name that is a piece of a page for whoever takes it for one."""
HALL_PORT = free_port()
WAIT_MS = 30_000


def settings(hall_port: int) -> str:
    return f"""
[[sources]]
name = "talk"
source = "{CONVERSATION}"
realtime = false
[[sources]]
name = "hall"
source = "tcp://127.0.0.1:{hall_port}"
[[sources]]
name = '{HOSTILE}'
source = "tcp://127.0.0.1:{free_port()}"
"""


def started(folder: Path, hall_port: int) -> Iterator[Running]:
    """Yield a daemon that has heard the example conversation, and knows Ann."""
    pytest.importorskip("aiohttp", reason="the dashboard needs the extra web")
    running = Running(folder, settings(hall_port))
    running.enrol("Ann", PEOPLE / "Ann")
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A daemon that all tests look at; nobody ends it, nor is anybody forgotten, with what was heard before."""
    yield from started(tmp_path_factory.mktemp("dashboard"), HALL_PORT)


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose microphone hears Ben; it ends with these tests, for others need the event loop for themselves."""
    api = pytest.importorskip("playwright.sync_api", reason="the dashboard's tests need playwright")
    if chromium() is None:
        pytest.skip("no chromium is installed (make system)")
    microphone = microphone_file(tmp_path_factory.mktemp("microphone") / "ben.wav", clips_of("Ben"))
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(**browser_options(microphone))
        yield browser
        browser.close()


class Trouble(list[str]):
    """What a page complained about, or asked others for."""

    def note(self, kind: str, text: str) -> None:
        """Take a message of the console; what is refused with a reason, which a page shows, is no trouble."""
        if kind in ("error", "warning") and "status of 400" not in text:
            self.append(text)


def opened(browser: Browser, address: str, **options: object) -> tuple[Page, Trouble]:
    """Return a page of the dashboard, and what it will have complained about."""
    page, trouble = browser.new_page(**options), Trouble()  # type: ignore[arg-type]
    page.set_default_timeout(WAIT_MS)
    page.on("console", lambda message: trouble.note(message.type, message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    origin = "/".join(address.split("/")[:3])
    page.on("request", lambda request: None if request.url.startswith(origin) else trouble.append(request.url))
    page.goto(address)
    return page, trouble


@pytest.fixture
def page(browser: Browser, running: Running) -> Iterator[Page]:
    """The dashboard, which nothing is wrong with at the end."""
    page, trouble = opened(browser, running.address, viewport={"width": 1360, "height": 900})
    page.wait_for_selector("#connection[data-is=connected]")
    yield page
    assert page.title() == "affectd"
    assert trouble == []
    page.close()
