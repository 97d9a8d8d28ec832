"""``make screenshots``: the dashboard as it looks, of a household that plays the example conversation."""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from dashboard.running import (
    PEOPLE,
    ROOT,
    Running,
    browser_options,
    clips_of,
    conversation,
    free_port,
    microphone_file,
    say,
    speaking_at,
)
from edge.audio import SAMPLE_RATE_HZ, Waveform

BIGGEST_BYTES = 300_000
FILLED_S = 50
"""Of talk, before the first picture."""
WIDE, PHONE = {"width": 1360, "height": 860}, {"width": 360, "height": 740}


def main() -> None:
    """Take all pictures."""
    arguments = argparse.ArgumentParser(prog="make screenshots", description=__doc__)
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "dashboard", help="folder")
    out: Path = arguments.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="aff-") as folder, sync_playwright() as playwright:
        ports = {"kitchen": free_port(), "living room": free_port()}
        running = Running(Path(folder), "".join(map(_source, ports, ports.values())))
        microphone = microphone_file(Path(folder) / "microphone.wav", clips_of("Ben"))
        browser = playwright.chromium.launch(**browser_options(microphone))
        try:
            for name in ("Ann", "Ben"):
                running.enrol(name, PEOPLE / name)
            running.start()
            for port, samples in zip(ports.values(), _talks(), strict=True):
                threading.Thread(target=_talk, args=(port, samples), daemon=True).start()
            time.sleep(FILLED_S)
            _take(browser, running.address, out)
        finally:
            running.stop()
            browser.close()
    for picture in out.glob("*.png"):
        assert picture.stat().st_size < BIGGEST_BYTES, picture


def _take(browser: Browser, address: str, out: Path) -> None:
    for scheme in ("light", "dark"):
        page = _opened(browser, address, WIDE, scheme)
        page.screenshot(path=out / f"{scheme}.png")
        page.close()
    page = _opened(browser, address, PHONE, "light")
    page.screenshot(path=out / "phone.png")
    page.close()
    page = _opened(browser, address, {"width": 680, "height": 500}, "light")
    page.get_by_role("button", name="Enrol someone").click()
    page.get_by_role("textbox", name="Name").fill("Cleo")
    page.keyboard.press("Enter")
    page.get_by_role("checkbox", name="Cleo has read this, and agrees.").check()
    page.get_by_role("button", name="Agree and start").click()
    page.get_by_text("3 of 8", exact=True).wait_for()
    page.locator("dialog .meter[data-heard=voice]").wait_for()
    page.screenshot(path=out / "enrolment.png")
    page.close()


def _opened(browser: Browser, address: str, size: dict[str, int], scheme: str) -> Page:
    page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address)
    page.get_by_role("button", name="Forget Ann").wait_for()
    page.locator(".block.provisional .word").first.wait_for()
    return page


def _source(name: str, port: int) -> str:
    return f'[[sources]]\nname = "{name}"\nsource = "tcp://127.0.0.1:{port}"\n'


def _talks() -> tuple[Waveform, Waveform]:
    """Return the conversation with and without pauses, the second one also with a cough-like burst and a whisper."""
    samples, pause = conversation(), np.zeros(3 * SAMPLE_RATE_HZ, np.float32)
    turns = np.array_split(samples, 3)
    tick = samples[round(1.0 * SAMPLE_RATE_HZ) : round(1.2 * SAMPLE_RATE_HZ)]
    return samples, np.concatenate([turns[2], pause, tick, pause, turns[0], pause, turns[1]])


def _talk(port: int, samples: Waveform) -> None:
    with suppress(ConnectionError), speaking_at(port) as connection:
        while True:
            say(connection, samples)


if __name__ == "__main__":
    main()
