"""Pipes that a thread may wait for, and that stop waiting when they are told to."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from pathlib import Path

from edge.errors import UsageError

WAIT_S = 0.25
"""Longest wait before it is looked whether to stop."""


class Pipe(io.FileIO):
    """Standard input, or a named pipe, without a buffer.

    A thread that waits inside a buffered standard input aborts the interpreter when it exits. A named pipe is open
    before anybody writes into it.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Open it; None is standard input.

        Raises:
            UsageError: a program that has no standard input.
            OSError: the named pipe cannot be opened.
        """
        if path:
            super().__init__(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        elif sys.stdin is None:
            raise UsageError("there is no standard input to read: it is closed")
        else:
            super().__init__(sys.stdin.fileno(), closefd=False)
        self._stopped = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        """Wait for some bytes and return them, at most ``size``; none at the end and once it is stopped."""
        while not self._stopped.is_set():
            if select.select([self], [], [], WAIT_S)[0]:
                data: bytes | None = super().read(-1 if size is None else size)
                if data is not None:
                    return data
        return b""

    def stop(self) -> None:
        """Make ``read`` return soon, however long nothing arrives; from any thread or signal handler."""
        self._stopped.set()
