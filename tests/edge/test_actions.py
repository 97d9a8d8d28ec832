"""What a request may ask for, at whichever door."""

from __future__ import annotations

from typing import Any

import pytest

from edge.actions import MOST_S, duration_in, taking
from edge.errors import UsageError


@pytest.mark.parametrize("for_s", [0, -1, True, "60", float("nan"), float("inf"), 1e300, 10**400, [60]])
def test_a_duration_that_is_none_is_refused(for_s: Any) -> None:
    with pytest.raises(UsageError, match="for_s is a number of seconds"):
        duration_in({"for_s": for_s})


def test_durations() -> None:
    assert duration_in({}) is None
    assert duration_in({"for_s": None}) is None
    assert [duration_in({"for_s": for_s}) for for_s in (0.5, 60, MOST_S)] == [0.5, 60, MOST_S]


def test_a_misspelt_key_does_not_stand_for_all_sources() -> None:
    pause = taking(lambda request: request.get("source"), "source", "for_s")
    assert pause({"do": "pause", "id": 7, "source": "hall", "for_s": 60}) == "hall"
    with pytest.raises(UsageError, match=r"unknown key 'sorce' \(did you mean 'source'\?\); it takes source, for_s"):
        pause({"sorce": "hall"})
