import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge.bundle import Bundle
from edge.errors import ModelError
from export.measure.plan import Plan
from export.measure.start import FAST, REAL_TIME, FreshRun, Player, _targets, measure
from export.measure.stopwatch import watch

EVENTS = """
import json, time
held = bytearray(64 << 20)
for event in ({"type": "status", "reason": "ready"}, {"type": "utterance"}, {"type": "utterance"}):
    print(json.dumps(event), flush=True)
"""


def test_a_stopwatch_sees_the_first_of_each_event_and_the_memory_of_the_command_alone() -> None:
    found = watch([sys.executable, "-c", EVENTS])
    assert list(found["first_s"]) == ["ready", "utterance"]
    assert 0 < found["first_s"]["ready"] <= found["first_s"]["utterance"] <= found["end_s"]
    assert found["peak_mb"] > 64
    assert found["cpu_s"] > 0
    assert found["code"] == 0


def test_a_command_that_fails_is_seen_to() -> None:
    found = watch([sys.executable, "-c", "raise SystemExit(3)"])
    assert (found["code"], found["first_s"]) == (3, {})


@pytest.mark.slow
def test_a_fresh_process_is_ready_before_it_answers(bundle: Bundle, tmp_path: Path) -> None:
    run = Player(tmp_path).play(bundle, FAST)
    assert 0 < run.ready_s <= run.first_utterance_s <= run.end_s
    assert 10 < run.peak_mb < 1_000


@pytest.mark.slow
def test_a_process_that_does_not_start_is_an_error(bundle: Bundle, tmp_path: Path) -> None:
    gone = replace(bundle, folder=tmp_path / "gone")
    with pytest.raises(ModelError, match="gone"):
        Player(tmp_path).play(gone, FAST)


@pytest.mark.slow
def test_little_is_played_once_and_as_fast_as_it_is_analysed(bundle: Bundle) -> None:
    (row,) = measure(Plan((bundle,), rounds=1, quick=True)).figures["fresh"]
    assert (row["bundle"], row["played"], len(row["runs"])) == ("tiny, fp32", FAST, 1)


@pytest.mark.parametrize(("first_s", "peak_mb", "met"), [(1.4, 149, [True, True]), (1.6, 151, [False, False])])
def test_promises_are_about_the_cold_start_and_the_most_memory(
    first_s: float, peak_mb: float, met: list[bool], bundle: Bundle
) -> None:
    fast, slow = FreshRun(1, first_s, 3, 2, 100), FreshRun(1, 5, 20, 2, peak_mb)
    targets = _targets(bundle, {("tiny, fp32", FAST): [fast], ("tiny, fp32", REAL_TIME): [slow]})
    assert [target.met for target in targets] == met
