"""A command line called inside the test's process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import pytest


def exit_code(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run ``main`` with the arguments, the program's name first, and return its exit code."""
    monkeypatch.setattr(sys, "argv", [*map(str, arguments)])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        signal.signal(signal.SIGINT, interrupt)
    return 0
