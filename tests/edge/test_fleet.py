"""A few devices of those of which `make fleet` measures a hundred."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fleet.__main__ import MEASURED, fleet, report

pytestmark = pytest.mark.slow


def test_no_event_of_a_fleet_is_lost_when_the_broker_is_restarted_or_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed (apt install mosquitto-clients)")
    monkeypatch.setattr("fleet.__main__.AWAY_S", 1.0)
    phases, counted = fleet(devices=4, events=15, rate=18.0, seconds=4.0, folder=tmp_path)
    assert [phase.events for phase in phases] == [60, 72, 72, 72]
    assert [phase.lost for phase in phases] == [0, 0, 0, 0]
    assert counted == 0
    page = report(phases, counted, 4, 18.0)
    assert page.startswith(MEASURED)
    assert "| undisturbed | 72 | 0 | 0 |" in page
