"""What is going on, on a terminal: progress bars and stages; silence elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ClassVar, ParamSpec

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Arguments = ParamSpec("Arguments")


class Display(Progress):
    """A display on standard error that vanishes when done; of displays within each other the innermost is shown.

    What is printed meanwhile comes above it; what goes into a pipe or a file is left alone.
    """

    shown: ClassVar[list[Display]] = []

    def __init__(self, *columns: ProgressColumn) -> None:
        console = Console(stderr=True)
        first = os.environ.get("LOCAL_RANK", "0") == "0"  # of the processes that accelerate has started
        super().__init__(
            *columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty(),
            disable=not (console.is_terminal and first),
        )  # fmt: skip

    def start(self) -> None:
        """Show it, and pause what is shown."""
        if self.shown and not self.disable:
            self.shown[-1].live.stop()
        super().start()
        if not self.disable:
            self.shown.append(self)
            _log_to_standard_error()

    def stop(self) -> None:
        """Remove it, and go on with what was shown before."""
        super().stop()
        if self in self.shown:
            self.shown.remove(self)
            if self.shown:
                self.shown[-1].live.start()
            _log_to_standard_error()


def _log_to_standard_error() -> None:
    """Let warnings come above the display, which standard error leads to as long as one is shown."""
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            handler.setStream(sys.stderr)


def progress_bar() -> Progress:
    """Return a progress display that is absent when nobody watches."""
    return Display(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Show what goes on and for how long, where there is nothing to count."""
    with Display(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as display:
        display.add_task(what, total=None)
        yield


def watched(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Let a command say that it works, wherever nothing within it says what it does."""

    @wraps(command)
    def run(*args: Arguments.args, **options: Arguments.kwargs) -> None:
        with stage(f"{command.__name__.replace('_', '-')}: working"):
            command(*args, **options)

    return run
