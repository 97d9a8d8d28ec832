"""How many sources one core serves: the figures come from real runs, and late blocks are not hidden."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.profiling import streams
from edge.profiling.streams import BLOCK, Loop, Step, half_talk
from helpers.conversation import Conversation

Call = Callable[..., int]


def test_half_of_it_is_talk(conversation: Conversation) -> None:
    samples = half_talk([conversation.path])
    powers = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK).std(axis=1)
    assert (powers > 10 * streams.QUIET).mean() == pytest.approx(0.5, abs=0.06)


def test_a_block_is_due_whenever_it_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(streams.time, "monotonic", lambda: now_s[0])
    samples = np.arange(10 * BLOCK, dtype=np.float32)
    loop = Loop("loop", samples, 3 * 0.03)
    monkeypatch.setattr(loop._closed, "wait", lambda timeout: None)
    blocks = loop.blocks()
    first = next(blocks)
    now_s[0] += 5
    second = next(blocks)
    assert [round(block.captured_at_s - 100, 6) for block in (first, second)] == [0.03, 0.06]
    assert first.samples[0] == 3 * BLOCK
    assert second.samples[0] == 4 * BLOCK
    loop.close()
    assert list(blocks) == []


def test_what_a_step_says() -> None:
    assert not Step(3).holds
    held = Step(5, final_ms=[10.0] * 99 + [500.0], busy=0.5)
    assert held.holds
    assert str(held) == "5: 15 ms, 50% of the core"
    assert not Step(5, final_ms=[10.0], skipped=1).holds
    assert not Step(5, final_ms=[300.0]).holds


@pytest.mark.slow
def test_the_mode(
    call: Call,
    conversation: Conversation,
    bundle_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(streams, "WARM_UP_S", 0.5)
    page = tmp_path / "page.html"
    arguments = ("profile", "--streams", "2,1", "--duration", "4", conversation.path, "--bundle", bundle_folder)
    assert call(*arguments, "--json", "--html", page) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["mode"] == "streams"
    finals = [row for row in report["rows"] if row["stage"].startswith("final")]
    assert [row["sources"] for row in finals] == [1, 2]
    assert all(0 < row["p50"] < 5_000 and row["n"] >= 1 for row in finals)
    assert "one core serves" in report["notes"][0]
    assert "in silence takes" in report["notes"][2]
    assert "Final event over the number of sources" in page.read_text()
    assert call("profile", "--streams", "0") == 2
    assert call("profile", "--streams", "two") == 2
    assert call("profile", "--streams", "1", "--sweep") == 2
