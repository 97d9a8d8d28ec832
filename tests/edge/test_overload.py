"""The ladder on a clock of its own, and what each step does to utterances."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Bundle
from edge.engine import Engine
from edge.overload import SETTLE_S, Overload, ladder
from edge.settings import EncoderSettings, OverloadSettings, PartialSettings, Settings
from helpers.running import Gated, Played, Recorder, turns

SETTINGS = Settings(partials=PartialSettings(every_s=1))


def overloaded(settings: Settings = SETTINGS) -> tuple[Overload, list[float]]:
    now_s = [0.0]
    return Overload(settings, lambda: now_s[0]), now_s


def test_the_steps_in_their_order() -> None:
    assert [step.message for step in ladder(SETTINGS)] == [
        "nothing is left out",
        "no partial answers",
        "of an utterance its last 4 s count",
        "the bundle nano answers",
        "one utterance in 2 is answered",
    ]
    last = ladder(SETTINGS)[-1]
    assert (last.partials, last.longest_s, last.small, last.every) == (False, 4, True, 2)


@pytest.mark.parametrize(
    ("overload", "steps"),
    [
        ({"enabled": False}, 1),
        ({"bundle": "", "every": 1, "longest_s": 60}, 1),
        ({"bundle": ""}, 3),
        ({"every": 1}, 3),
    ],
)
def test_steps_that_would_change_nothing_are_left_out(overload: dict[str, object], steps: int) -> None:
    assert len(ladder(Settings(overload=OverloadSettings.model_validate(overload)))) == steps


def test_down_one_step_at_a_time_and_up_after_a_calm() -> None:
    overload, now_s = overloaded()
    assert overload.follow(0.5) is None
    said = overload.follow(1.5)
    assert said == "the encoder does not keep up: no partial answers (step 1 of 4)"
    assert overload.follow(math.inf) is None, "the step has not had time to show what it saves"
    for step in (2, 3, 4):
        now_s[0] += SETTLE_S
        overload.follow(math.inf)
        assert overload.step == step
    now_s[0] += SETTLE_S
    assert overload.follow(math.inf) is None, "there is no further step"
    late_at_s = now_s[0]
    for step in (3, 2, 1, 0):
        while overload.step > step:
            now_s[0] += 1
            overload.follow(0.0)
        assert now_s[0] - late_at_s == pytest.approx(30)
        late_at_s = now_s[0]
    assert overload.changes == 8


def test_what_was_given_back_too_soon_comes_back_later() -> None:
    overload, now_s = overloaded()
    waits_s = []
    for _ in range(4):
        overload.follow(2.0)
        assert overload.step == 1
        down_at_s = now_s[0]
        while overload.step:
            now_s[0] += 1
            overload.follow(0.0)
        waits_s.append(now_s[0] - down_at_s)
        now_s[0] += SETTLE_S
    assert waits_s == [30, 60, 120, 240]
    now_s[0] += 10 * 240
    overload.follow(0.0)
    overload.follow(2.0)
    now_s[0] += 30
    overload.follow(0.0)
    assert overload.step == 0, "after a long calm all is forgotten"


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 5)), max_size=200))
def test_it_never_leaves_the_ladder_and_moves_by_one(turns_: list[tuple[float, float]]) -> None:
    overload, now_s = overloaded()
    for passes_s, waited_s in turns_:
        now_s[0] += passes_s
        before = overload.step
        said = overload.follow(waited_s)
        assert 0 <= overload.step < len(overload.steps)
        assert abs(overload.step - before) == (said is not None)


@pytest.mark.slow
def test_every_utterance_ends_once_while_steps_are_taken(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recogniser that is too slow: all steps are taken, the second bundle answers, and nothing is left open."""
    monkeypatch.setattr("edge.overload.SETTLE_S", 0.0)
    settings = Settings(
        encoder=EncoderSettings(queue_utterances=3, max_batch=1),
        overload=OverloadSettings(wait_s=0.001, longest_s=1, bundle=str(bundle.folder), every=3),
    )
    source = Played(turns(24), can_wait=False, name="hall")
    recognizer, recorder = Gated(bundle, settings.encoder), Recorder()
    recognizer.gate = threading.Event()
    recognizer.gate.set()
    summary = Engine([source], recognizer, [recorder], settings).run()
    steps = [event.message for event in recorder.of("status") if event.reason == "overload"]
    assert [step.split("(")[1] for step in steps if step] == [f"step {number} of 3)" for number in (1, 2, 3)]
    ends = [event.id for event in recorder.events if event.type in ("utterance", "skipped")]
    begins = [event.id for event in recorder.of("speech_start")]
    assert sorted(ends) == sorted(set(begins)) == list(range(1, 25))
    assert summary.utterances + summary.skipped == 24
    assert summary.skipped > 0
    assert {event.reason for event in recorder.of("skipped")} == {"too_slow"}
    for id_ in begins:
        revisions = [event.revision for event in recorder.events if event.id == id_]
        assert revisions == list(range(len(revisions)))
    assert max(event.bucket_s or 0 for event in recorder.of("utterance")[-3:]) <= 1.5
