"""Hours of the week, such as ``Mon-Fri 08:00-18:00, Sat 10:00-12:30``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
SPAN = re.compile(
    r"(?:(?P<first>[A-Za-z]+)(?:-(?P<last>[A-Za-z]+))?\s+)?(?P<begin>\d{1,2}:\d{2})-(?P<end>\d{1,2}:\d{2})"
)


@dataclass(frozen=True)
class Hours:
    """When something holds, by the local wall clock."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """From and to, in minutes since Monday 00:00; one that ends before it begins goes over the end of the week."""

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Return the hours of a text: days and times, separated by commas; a span over midnight ends the next day.

        Raises:
            ValueError: with what is wrong, and what is right.
        """
        spans: list[tuple[int, int]] = []
        for part in filter(None, map(str.strip, text.split(","))):
            found = SPAN.fullmatch(part)
            if not found:
                raise ValueError(
                    f"{part!r} is no span of hours: write Mon-Fri 08:00-18:00, or 22:00-06:00 for every day"
                )
            begin, end = _minutes(found["begin"]), _minutes(found["end"])
            for day in _days(found["first"], found["last"]):
                start = day * DAY_MINUTES
                spans.append((start + begin, start + end + (DAY_MINUTES if end <= begin else 0)))
        return cls(text, tuple(spans))

    def include(self, time: datetime) -> bool:
        """Return whether a local time is within the hours."""
        minute = time.weekday() * DAY_MINUTES + time.hour * 60 + time.minute
        week = 7 * DAY_MINUTES
        return any(begin <= at < end for begin, end in self.spans for at in (minute, minute + week))

    def __str__(self) -> str:
        return self.text


def _days(first: str | None, last: str | None) -> list[int]:
    if first is None:
        return list(range(7))
    begin = _day(first)
    end = _day(last) if last else begin
    return [day % 7 for day in range(begin, end + 1 + (7 if end < begin else 0))]


def _day(name: str) -> int:
    if name[:3].casefold() not in DAYS:
        raise ValueError(f"{name!r} is no day: Mon, Tue, Wed, Thu, Fri, Sat or Sun")
    return DAYS.index(name[:3].casefold())


def _minutes(text: str) -> int:
    hours, minutes = map(int, text.split(":"))
    if minutes > 59 or hours * 60 + minutes > DAY_MINUTES:
        raise ValueError(f"{text!r} is no time of day: 00:00 to 24:00")
    return hours * 60 + minutes
