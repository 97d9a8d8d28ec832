"""What a wall clock that jumps does to a journal: nothing that is new goes, and nothing that is old stays."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.journal.clock import Clock, boot_id, expire, follow
from edge.journal.file import SCHEMA
from helpers.journals import NOON, Machine

DAYS = 30


class Rows:
    """A journal in memory, with the true time of each row."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(SCHEMA)
        self.true_s: dict[int, float] = {}

    def write(self) -> None:
        stretch = follow(self.db, self.machine.clock)
        row = (stretch.number, round(self.machine.now().timestamp() * 1e3))
        number = self.db.execute("INSERT INTO events VALUES (NULL, ?, ?, '', '', NULL, NULL)", row).lastrowid
        assert number
        self.true_s[number] = self.machine.true_s

    def expire(self) -> None:
        expire(self.db, follow(self.db, self.machine.clock), DAYS)

    def ages_days(self) -> list[float]:
        """Return how old the rows that are left truly are."""
        left = [number for (number,) in self.db.execute("SELECT id FROM events ORDER BY id")]
        return [(self.machine.true_s - self.true_s[number]) / 86_400 for number in left]

    def times(self) -> list[datetime]:
        query = "SELECT time_ms FROM events ORDER BY id"
        return [datetime.fromtimestamp(time_ms / 1e3, timezone.utc) for (time_ms,) in self.db.execute(query)]


@pytest.fixture
def rows() -> Iterator[Rows]:
    rows = Rows(Machine())
    with closing(rows.db):
        yield rows


def test_what_is_older_than_the_days_goes_once_the_clock_is_known(rows: Rows) -> None:
    for _ in range(40):
        rows.write()
        rows.machine.wait(days=1)
        rows.expire()
    assert len(rows.ages_days()) == DAYS
    assert max(rows.ages_days()) <= DAYS


def test_a_new_journal_waits_for_an_hour(rows: Rows) -> None:
    rows.write()
    rows.db.execute("UPDATE events SET time_ms = 0")
    rows.machine.wait(minutes=59)
    rows.expire()
    assert len(rows.ages_days()) == 1
    rows.machine.wait(minutes=1)
    rows.expire()
    assert rows.ages_days() == []


def test_a_minute_in_2099_deletes_nothing_and_is_put_right(rows: Rows) -> None:
    rows.write()
    rows.machine.wait(hours=5)
    rows.machine.set_year(2099)
    for _ in range(3):
        rows.write()
        rows.expire()
        rows.machine.wait(seconds=20)
    assert rows.times()[-1].year == 2099
    rows.machine.wrong_s = 0
    rows.write()
    rows.expire()
    assert len(rows.ages_days()) == 5
    rows.machine.wait(hours=1)
    rows.expire()
    assert rows.times() == [NOON, *(NOON + timedelta(hours=5, seconds=each) for each in (0, 20, 40, 60))]


def test_a_restart_loop_in_2099_deletes_nothing(rows: Rows) -> None:
    rows.write()
    rows.machine.wait(days=1)
    rows.expire()
    rows.machine.reboot()
    rows.machine.set_year(2099)
    for _ in range(5):
        rows.expire()
        rows.write()
        rows.machine.wait(minutes=1)
        rows.machine.reboot()
    rows.machine.wrong_s = 0
    rows.expire()
    assert len(rows.ages_days()) == 6


def test_what_a_wrong_clock_left_in_the_future_goes_with_what_came_after_it(rows: Rows) -> None:
    rows.machine.set_year(2099)
    rows.write()
    rows.machine.reboot()
    rows.machine.wrong_s = 0
    for _ in range(DAYS):
        rows.write()
        rows.machine.wait(days=1)
        rows.expire()
    assert rows.times()[0].year == 2099
    for _ in range(2):
        rows.machine.wait(days=1)
        rows.expire()
    assert max(rows.ages_days()) <= DAYS
    assert rows.times()[0].year == 2026


def test_a_device_without_a_battery_keeps_what_is_new(rows: Rows) -> None:
    for _ in range(3):
        rows.write()
        rows.machine.wait(days=1)
        rows.expire()
    rows.machine.reboot()
    rows.machine.set_year(1970)
    for _ in range(5):
        rows.expire()
        rows.write()
        rows.machine.wait(days=1)
    assert rows.times()[-1].year == 1970
    rows.machine.wrong_s = 0
    rows.write()
    rows.expire()
    assert len(rows.ages_days()) == 9
    rows.machine.wait(hours=1)
    rows.expire()
    assert rows.times() == [NOON + timedelta(days=day) for day in range(9)]


def test_a_device_that_never_learns_the_time_deletes_nothing(rows: Rows) -> None:
    for _ in range(40):
        rows.machine.set_year(1970)
        rows.write()
        rows.machine.wait(hours=3)
        rows.expire()
        rows.machine.reboot()
    assert len(rows.ages_days()) == 40


@pytest.mark.parametrize(("away_days", "kept"), [(20, 1), (80, 0), (100, 1)])
def test_a_machine_that_was_off(rows: Rows, away_days: int, kept: int) -> None:
    rows.write()
    rows.machine.wait(hours=2)
    rows.expire()
    rows.machine.wait(days=away_days)
    rows.machine.reboot()
    rows.expire()
    assert len(rows.ages_days()) == kept
    rows.machine.wait(hours=1)
    rows.expire()
    assert len(rows.ages_days()) == (away_days < DAYS)


def test_the_clock_of_this_machine_goes() -> None:
    clock = Clock()
    before = clock.offset_ms()
    assert clock.now_ms() - before == pytest.approx(clock.uptime_s() * 1e3, abs=1_000)
    assert clock.boot == boot_id() == Clock().boot


WRONG = st.tuples(st.sampled_from([1970, 2000, 2027, 2099]), st.integers(0, 59), st.booleans())
"""A year, minutes for which the clock is in it, and whether rows are written then."""


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 60 * 24 * 20), st.none() | WRONG), min_size=1, max_size=25))
def test_jumps_of_less_than_an_hour_change_nothing(happenings: list[tuple[int, tuple[int, int, bool] | None]]) -> None:
    rows = Rows(Machine())
    for minutes, wrong in happenings:
        rows.write()
        rows.machine.wait(minutes=minutes)
        if wrong:
            rows.expire()
            year, wrong_minutes, writes = wrong
            rows.machine.set_year(year)
            if writes:
                rows.write()
            rows.expire()
            rows.machine.wait(minutes=wrong_minutes)
            rows.expire()
            rows.machine.wrong_s = 0
        rows.expire()
        newer = sum(rows.machine.true_s - true_s < DAYS * 86_400 for true_s in rows.true_s.values())
        assert sum(age < DAYS for age in rows.ages_days()) == newer
    rows.expire()
    rows.machine.wait(hours=1)
    rows.expire()
    assert all(age <= DAYS for age in rows.ages_days())
    rows.db.close()
