"""The system's default microphone, which may become another one while it is listened to."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading

PATIENCE_S = 2.0
"""For the sound server's answer."""


class DefaultDevice:
    """Follows which microphone is the default one, as PulseAudio and PipeWire tell it; without them it never changes.

    PortAudio does not say so, and PulseAudio leaves what is being recorded at the device that it began with.
    """

    def __init__(self) -> None:
        self._program = shutil.which("pactl")
        self._watch: subprocess.Popen[bytes] | None = None
        self._name = ""
        self.has_changed = False
        """Since ``open``."""

    def open(self) -> None:
        """Begin to follow it, in a thread of its own."""
        self.has_changed = False
        if self._program is None:
            return
        self._watch = subprocess.Popen(
            [self._program, "subscribe"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
        self._name = self._default()
        threading.Thread(target=self._follow, args=(self._watch,), name="default device", daemon=True).start()

    def close(self) -> None:
        """Follow it no longer."""
        watch, self._watch = self._watch, None
        if watch:
            watch.kill()
            watch.wait()

    def _follow(self, watch: subprocess.Popen[bytes]) -> None:
        assert watch.stdout
        with watch.stdout as lines:
            for line in lines:
                if b"on server" in line and (name := self._default()) and name != self._name and watch is self._watch:
                    self._name, self.has_changed = name, True

    def _default(self) -> str:
        """Return the default microphone's name; empty where the sound server does not say."""
        assert self._program
        try:
            asked = subprocess.run(
                [self._program, "get-default-source"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE_S,
                env=_environment(),
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return asked.stdout.decode(errors="replace").strip()


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}
