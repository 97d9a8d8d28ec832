"""Hours of the week, pauses that end, and what a schedule does to streams."""

from __future__ import annotations

import math
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.daemon.pauses import Pauses
from edge.daemon.schedule import LOOK_S, Schedule
from edge.errors import UsageError
from edge.settings import CaptureSettings, Hours

MONDAY = datetime(2024, 1, 1)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("08:00-18:00", [at(0, 8), at(6, 17, 59)], [at(0, 7, 59), at(3, 18)]),
        ("Mon-Fri 08:00-18:00, Sat 10:00-12:30", [at(4, 9), at(5, 12, 29)], [at(5, 9), at(6, 11)]),
        ("22:00-06:00", [at(2, 23), at(3, 5), at(0, 1)], [at(2, 12), at(3, 6)]),
        ("sunday 20:00-04:00", [at(6, 21), at(0, 3)], [at(0, 4), at(6, 3), at(1, 1)]),
        ("Sat-Mon 00:00-24:00", [at(5, 0), at(6, 12), at(0, 23, 59)], [at(1, 0), at(4, 23)]),
        ("00:00-00:00", [at(day, hour) for day in range(7) for hour in (0, 13)], []),
    ],
)
def test_hours(text: str, inside: list[datetime], outside: list[datetime]) -> None:
    hours = Hours.parse(text)
    assert all(map(hours.include, inside))
    assert not any(map(hours.include, outside))
    assert str(hours) == text


@pytest.mark.parametrize("text", ["8-18", "Mo 08:00-18:00", "08:60-09:00", "08:00-25:00", "Fun 08:00-09:00", "Mon-Fri"])
def test_hours_that_cannot_be_read_say_how_to_write_them(text: str) -> None:
    with pytest.raises(ValidationError, match=r"Mon|00:00 to 24:00"):
        CaptureSettings(hours=text)


@settings(max_examples=25)
@given(st.integers(0, 6), st.integers(0, 1439), st.integers(1, 1440))
def test_a_span_is_as_long_as_it_says(day: int, begin: int, length: int) -> None:
    end = (begin + length) % 1440
    names = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    hours = Hours.parse(f"{names[day]} {begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}")
    assert sum(hours.include(MONDAY + timedelta(minutes=minute)) for minute in range(7 * 1440)) == length


class Recorded:
    """Streams that take note of what they are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str | None]] = []

    def pause(self, source: str | None, why: str) -> None:
        if source == "gone":
            raise UsageError("there is no source 'gone'")
        self.told.append(("pause", source))

    def go_on(self, source: str | None, why: str) -> None:
        self.told.append(("go on", source))


def test_sources_follow_their_hours() -> None:
    now, clock = [at(0, 7)], [0.0]
    streams = Recorded()
    schedule = Schedule(lambda: now[0], lambda: clock[0])
    hours = {"shop": Hours.parse("08:00-18:00"), "gone": Hours.parse("Sun 01:00-02:00")}

    def look(time: datetime) -> list[tuple[str, str | None]]:
        now[0], clock[0] = time, clock[0] + LOOK_S
        before = len(streams.told)
        schedule.follow(streams, hours)  # type: ignore[arg-type]
        return streams.told[before:]

    assert look(at(0, 7)) == [("pause", "shop")], "it starts outside of its hours"
    assert look(at(0, 7, 30)) == []
    assert look(at(0, 8)) == [("go on", "shop")]
    assert look(at(0, 12)) == []
    assert look(at(0, 18)) == [("pause", "shop")]
    assert look(at(1, 8)) == [("go on", "shop")]
    assert look(at(1, 18)) == [("pause", "shop")]
    schedule.begin("shop")
    assert look(at(1, 19)) == [("pause", "shop")], "it was opened anew, outside of its hours"
    del hours["shop"]
    assert look(at(1, 20)) == [("go on", "shop")], "it has no hours any more"
    assert look(at(2, 20)) == []


def test_a_pause_a_while_ends_unless_another_follows() -> None:
    clock = [0.0]
    streams = Recorded()
    schedule = Schedule(lambda: at(0, 12), lambda: clock[0])
    schedule.pause(["hall"], 60)
    schedule.pause(["hall", "yard", "shop", "door"], 90)
    schedule.pause(["yard"], None)
    schedule.pause(["door"], 10)
    for clock[0] in (5, 11, 61, 80, 91, 200):
        schedule.follow(streams, {})  # type: ignore[arg-type]
    assert streams.told == [("go on", "door"), ("go on", "hall"), ("go on", "shop")]


def test_a_pause_of_all_without_an_end_outlasts_an_earlier_one_of_a_source() -> None:
    clock = [0.0]
    streams = Recorded()
    schedule = Schedule(lambda: at(0, 12), lambda: clock[0])
    schedule.pause(["hall"], 3)
    schedule.pause(["hall", "yard"], None)
    clock[0] = 10
    schedule.follow(streams, {})  # type: ignore[arg-type]
    assert streams.told == []


class Machine:
    """A source "shop" with hours, as a daemon runs it; it can be started again at any time."""

    hours = Hours.parse("08:00-18:00")

    def __init__(self, folder: Path) -> None:
        self.folder, self.minute = folder, 0
        self.start()

    def start(self) -> None:
        self.is_listening = True
        self.pauses = Pauses(self.folder, lambda: self.minute * 60.0)
        self.schedule = Schedule(lambda: at(0, 0, self.minute), lambda: self.minute * 60.0)
        for source, duration_s in self.pauses.remaining_s().items():
            self.pause(source, "from before")
            self.schedule.pause([source], duration_s)
        self.look()

    def look(self) -> None:
        self.schedule.follow(self, {"shop": self.hours})  # type: ignore[arg-type]

    def pause(self, source: str, why: str) -> None:
        self.is_listening = False

    def go_on(self, source: str, why: str) -> None:
        self.is_listening = True

    def pause_by_hand(self, minutes: int | None) -> None:
        duration_s = None if minutes is None else minutes * 60.0
        self.pause("shop", "by hand")
        self.schedule.pause(["shop"], duration_s)
        self.pauses.add(["shop"], duration_s)

    def resume_by_hand(self) -> None:
        self.go_on("shop", "by hand")
        self.schedule.resume(["shop"])
        self.pauses.remove(["shop"])


def half_hours(count: int) -> int:
    return 30 * count


STEPS = st.one_of(
    st.tuples(st.just("pause"), st.none() | st.integers(1, 100).map(half_hours)),
    st.tuples(st.just("resume"), st.none()),
    st.tuples(st.just("wait"), st.integers(1, 70).map(half_hours)),
    st.tuples(st.just("start"), st.none()),
)


@given(st.lists(STEPS, max_size=12))
@example([("wait", 510), ("pause", None), ("wait", 1_440), ("start", None)])
@example([("wait", 510), ("pause", 60), ("wait", 990), ("start", None)])
@example([("wait", 420), ("pause", 120), ("wait", 90), ("start", None), ("wait", 60)])
def test_a_pause_by_hand_outlasts_hours_and_restarts(steps: list[tuple[str, int | None]]) -> None:
    """Hours that begin end no pause, and a pause that ends outside of the hours, or a restart, opens nothing."""
    with tempfile.TemporaryDirectory() as folder:
        machine, paused_until, resumed_outside = Machine(Path(folder)), 0.0, False
        for step, minutes in steps:
            if step == "pause":
                machine.pause_by_hand(minutes)
                paused_until, resumed_outside = math.inf if minutes is None else machine.minute + minutes, False
            elif step == "resume":
                machine.resume_by_hand()
                paused_until, resumed_outside = 0.0, not machine.hours.include(at(0, 0, machine.minute))
            elif step == "start":
                machine.start()
                resumed_outside = False
            for _ in range(0, minutes if step == "wait" and minutes else 0, 30):
                machine.minute += 30
                machine.look()
                resumed_outside = resumed_outside and not machine.hours.include(at(0, 0, machine.minute))
            is_open = machine.hours.include(at(0, 0, machine.minute)) or resumed_outside
            assert machine.is_listening == (is_open and machine.minute >= paused_until)
