"""A few malformed inputs for each of what `make fuzz` feeds with thousands."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from fuzz.__main__ import others
from fuzz.targets import TARGETS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", TARGETS)
def test_malformed_inputs_work_or_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="aff-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        counts = TARGETS[name](50, Path(folder))
    assert sum(counts.values()) >= 50
    assert others(counts) == []
