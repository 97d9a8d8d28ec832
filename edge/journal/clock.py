"""Which time the journal believes in: a wall clock that has jumped must not delete what is new.

A device without a battery clock boots in 1970 until a network tells it the time; another is in 2099 for a minute. The
time since the machine's boot never jumps, so a jump of the wall clock shows as a change of the difference between them.
Until the clock has gone for an hour without a jump nothing is deleted; then what was written before the jump, since the
same boot, gets the time that it would have had by the clock as it goes now.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
TOLERANCE_MS = MINUTE_MS
"""What is no jump."""
STEADY_MS = HOUR_MS
"""For so long the clock must go without a jump to be believed."""
GAP_MS = 90 * DAY_MS
"""For longer than this nobody leaves a machine off, or the clock has jumped meanwhile."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    """Return what this boot of the machine is called; where that is unknown, this process."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid.uuid4())


def uptime_s() -> float:
    """Return the time since the machine's boot, in which it slept as well."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class Clock:
    """What time it is, and what tells whether that has jumped."""

    wall_s: Callable[[], float] = time.time
    uptime_s: Callable[[], float] = uptime_s
    boot: str = field(default_factory=boot_id)

    def now_ms(self) -> int:
        """Return the wall clock's time since 1970."""
        return round(self.wall_s() * 1e3)

    def offset_ms(self) -> int:
        """Return the wall clock's time less the time since the machine's boot, which changes only when it jumps."""
        return round((self.wall_s() - self.uptime_s()) * 1e3)


@dataclass(frozen=True)
class Stretch:
    """A stretch of time in which the clock goes without a jump."""

    number: int
    since_ms: int
    """When the clock jumped last, a stretch after a restart of the machine goes on."""
    now_ms: int

    @property
    def is_steady(self) -> bool:
        """The clock can be believed."""
        return self.now_ms - self.since_ms >= STEADY_MS


def follow(db: sqlite3.Connection, clock: Clock) -> Stretch:
    """Look at the clock, and return the stretch that it is in; a new one begins with a jump or a boot.

    Args:
        db: the journal, within a transaction that writes.
        clock: the machine's.
    """
    now_ms, offset_ms = clock.now_ms(), clock.offset_ms()
    query = "SELECT number, boot, offset_ms, since_ms, seen_ms FROM stretches ORDER BY number DESC LIMIT 1"
    number, boot, last_offset_ms, since_ms, seen_ms = db.execute(query).fetchone() or (0, "", 0, now_ms, now_ms)
    if boot == clock.boot:
        jumped = abs(offset_ms - last_offset_ms) > TOLERANCE_MS
    else:
        jumped = not -TOLERANCE_MS <= now_ms - seen_ms <= GAP_MS
    since_ms = now_ms if jumped else since_ms
    if jumped or boot != clock.boot:
        number += 1
        db.execute("DELETE FROM stretches WHERE boot <> ?", (clock.boot,))
    row = (number, clock.boot, offset_ms, since_ms, now_ms)
    db.execute("INSERT OR REPLACE INTO stretches VALUES (?, ?, ?, ?, ?)", row)
    return Stretch(number, since_ms, now_ms)


def expire(db: sqlite3.Connection, stretch: Stretch, days: int) -> None:
    """Delete what is older than ``days`` by a clock that can be believed; by any other, nothing.

    What a wrong clock dated into the future goes with what was written after it.
    """
    if not stretch.is_steady:
        return
    _redate(db, stretch)
    oldest_ms = stretch.now_ms - days * DAY_MS
    db.execute(
        # The index is named because max(id) alone would be searched for through all rows.
        "DELETE FROM events WHERE time_ms > ? AND id < "
        "(SELECT max(id) FROM events INDEXED BY events_by_time WHERE time_ms < ?)",
        (stretch.now_ms, oldest_ms),
    )
    db.execute("DELETE FROM events WHERE time_ms < ?", (oldest_ms,))


def _redate(db: sqlite3.Connection, stretch: Stretch) -> None:
    """Give what was written before the clock jumped the time by the clock as it goes now."""
    others = "FROM stretches WHERE number < ?"
    (offset_ms,) = db.execute("SELECT offset_ms FROM stretches WHERE number = ?", (stretch.number,)).fetchone()
    for number, other_ms in db.execute(f"SELECT number, offset_ms {others}", (stretch.number,)).fetchall():
        change = (offset_ms - other_ms, number)
        db.execute("UPDATE events SET time_ms = time_ms + ? WHERE stretch = ?", change)
    db.execute(f"DELETE {others}", (stretch.number,))
