"""What systemd is told of a running ``affectd``: the datagrams of sd_notify(3), from the standard library alone."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

WITHOUT_WATCHDOG_S = 15.0
"""From one heartbeat to the next where there is no watchdog, while it starts."""
EXTENSION_US = 60_000_000
"""How much longer a start may take after each heartbeat."""
MOST_UNSENT = 64


class Notifier:
    """Speaks to the service manager that started this process; without one, nothing is done.

    The constructor is cheap and cannot fail. It takes the variables out of the environment, so that no child speaks in
    this process's name. The methods never raise and never wait, and may be called from any thread and signal handler:
    what the manager's socket has no room for is sent with the next heartbeat.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Look who is to be notified; ``clock`` counts seconds from anywhere."""
        self._clock = clock
        path = os.environ.pop("NOTIFY_SOCKET", "")
        watchdog_us, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        is_watched = watchdog_us.isdecimal() and pid in ("", str(os.getpid()))
        self._watchdog_s = int(watchdog_us) / 1e6 if is_watched else 0.0
        self._is_starting = True
        self._beat_at_s = float("-inf")
        self._unsent: deque[str] = deque(maxlen=MOST_UNSENT)

    def ready(self, status: str) -> None:
        """Report that it works, for the first time or again after ``reloading``; ``status`` is one line for people."""
        self._is_starting = False
        self._tell("READY=1", _status(status))

    def heartbeat(self) -> None:
        """Report that the thread which calls this is not stuck; called as often as one likes.

        The watchdog hears it whenever half of its time has passed. Until ``ready`` it also prolongs the start, which
        may have to wait for a device: a start that is alive is never given up.
        """
        if not self._address:
            return
        self._flush()
        now_s = self._clock()
        wait_s = self._watchdog_s / 2 or WITHOUT_WATCHDOG_S
        beat = ["WATCHDOG=1"] if self._watchdog_s else []
        if self._is_starting:
            wait_s = min(wait_s, WITHOUT_WATCHDOG_S)
            beat.append(f"EXTEND_TIMEOUT_USEC={EXTENSION_US}")
        if beat and now_s - self._beat_at_s >= wait_s and self._send("\n".join(beat)):
            self._beat_at_s = now_s

    def reloading(self) -> None:
        """Report that settings are read again; ``ready`` says when that is done."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that it ends."""
        self._is_starting = False
        self._tell("STOPPING=1")

    def say(self, status: str) -> None:
        """Report what it does, in one line for people."""
        self._tell(_status(status))

    def _tell(self, *lines: str) -> None:
        if self._address:
            self._unsent.append("\n".join(lines))
            self._flush()

    def _flush(self) -> None:
        with suppress(IndexError):  # nothing is left, or another thread has sent it
            while True:
                message = self._unsent.popleft()
                if not self._send(message):
                    self._unsent.appendleft(message)
                    return

    def _send(self, message: str) -> bool:
        """Send without waiting; False where that is not possible just now."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.sendto(message.encode(errors="replace"), socket.MSG_DONTWAIT, self._address)
        except OSError:
            return False
        return True


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
