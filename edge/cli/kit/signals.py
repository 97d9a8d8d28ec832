"""Ctrl-C and SIGTERM: the first ends a command in good order, the second at once. SIGHUP to a service: read again."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from edge.errors import AffectdError


@contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at the first SIGINT or SIGTERM; the second ends the process, even if a source hangs."""

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def reload_on_hangup(reload: Callable[[], object]) -> Iterator[None]:
    """Call ``reload``, in a thread of its own, at each SIGHUP.

    On a terminal SIGHUP says that it was closed, and ends the process as ever; where it is ignored, as under nohup, it
    stays so.
    """

    def quietly() -> None:
        with suppress(AffectdError):  # which it has said itself
            reload()

    def handle(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=quietly, name="reload", daemon=True).start()

    before = signal.getsignal(signal.SIGHUP)
    if before == signal.SIG_IGN or _has_terminal():
        yield
        return
    signal.signal(signal.SIGHUP, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _has_terminal() -> bool:
    """Return whether a terminal controls this process, and so may hang up."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
