"""From a process that has just started to a command line, so that Ctrl-C ends it quietly at any time."""

from __future__ import annotations

import importlib
import os
import signal
import sys

TYPE_CHECKING = False  # as in ``typing``, which takes a while to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

INTERRUPTED = 130
"""``edge.errors.ExitCode.INTERRUPTED``, without the imports."""


def start(module: str, name: str) -> None:
    """Import a command line, ``app`` of a module, run it, and exit with its code.

    Ctrl-C raises KeyboardInterrupt while a command runs, so that it cleans up, and ends the process at once while
    something is imported, or afterwards.
    """
    catches = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # a job in the background ignores it
    try:
        _on_interrupt(_interrupt, catches)
        sys.unraisablehook = _leave_if_interrupted
        app = importlib.import_module(module).app
        code = importlib.import_module("edge.cli.kit.entry").run(app, name)
    except KeyboardInterrupt:
        code = INTERRUPTED
    _on_interrupt(_leave, catches)
    sys.exit(code)


def _on_interrupt(handler: Callable[[int, FrameType | None], None], catches: bool) -> None:
    if catches:
        signal.signal(signal.SIGINT, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but not where a library is imported: it may make of it whatever it likes."""
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _leave(number, frame)
        frame = frame.f_back
    raise KeyboardInterrupt


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def _leave_if_interrupted(unraisable: sys.UnraisableHookArgs) -> None:
    """Leave where Ctrl-C came in a destructor, from which nothing can be raised: Python would print it and go on."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        os._exit(INTERRUPTED)
    sys.__unraisablehook__(unraisable)
