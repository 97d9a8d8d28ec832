"""``examples/microphone.html``, opened as it says, with a microphone that hears somebody speak."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dashboard.running import ROOT
from edge.capture import Block, open_source
from edge.settings import CaptureSettings
from helpers.ports import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
PATIENCE_S = 20
LOUD = 0.01


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """The folder of examples, as a web server of Python's own shows it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(ROOT / "examples")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_browsers_microphone_is_heard(browser: Browser, site: str) -> None:
    address = f"ws://127.0.0.1:{free_port()}/browser"
    source = open_source(CaptureSettings(source=address, token="secret", origins=(site,)))
    blocks: list[Block] = []
    is_loud, reasons = threading.Event(), []

    def listen() -> None:
        for block in source.blocks():
            blocks.append(block)
            reasons.extend(note.reason for note in block.notes)
            if len(block.samples) and np.abs(block.samples).max() > LOUD:
                is_loud.set()

    thread = threading.Thread(target=listen)
    thread.start()
    page = browser.new_page()
    page.goto(f"{site}/microphone.html")
    state, button = page.locator("#state"), page.get_by_role("button")
    page.get_by_label("Address").fill(address)
    button.click()
    page.wait_for_function("document.getElementById('state').textContent.includes('refuses')")  # without its token
    page.get_by_label("Token").fill("secret")
    button.click()
    page.wait_for_function("document.getElementById('state').textContent.startsWith('Sends to')")
    assert button.text_content() == "Stop"
    assert is_loud.wait(PATIENCE_S)
    assert page.evaluate("document.getElementById('level').value") > -60
    button.click()
    assert state.text_content() == "Nothing is sent."
    page.wait_for_timeout(500)
    page.close()
    source.close()
    thread.join(PATIENCE_S)
    assert reasons == ["disconnected", "connected", "disconnected"]
    assert sum(block.lost_s for block in blocks) == 0
