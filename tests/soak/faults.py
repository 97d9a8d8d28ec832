"""What happens to the daemon: each fault at its own period, on the world's clock."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

import edge.event
from edge.daemon.daemon import Daemon
from soak.ledger import Counting
from soak.world import FLOODED, World


class SteppedClock(datetime):
    """The wall clock, which somebody sets."""

    step = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        """Return the time that the clock shows."""
        return datetime.now(tz) + cls.step


class Disk(io.FileIO):
    """A file on a disk that is full while it is told to be."""

    is_full = False

    @classmethod
    def fill(cls, is_full: bool) -> None:
        """Fill the disk, or make room."""
        cls.is_full = is_full

    def write(self, data: object) -> int:
        """Write, or fail."""
        if Disk.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)  # type: ignore[arg-type]


@dataclass
class Fault:
    """Something that begins every so often, and ends after a while."""

    name: str
    every_s: float
    lasts_s: float
    begin: Callable[[], object]
    end: Callable[[], object] = lambda: None


class Faults:
    """All faults, in a thread of their own."""

    def __init__(self, world: World, daemon: Daemon, slow: Counting, change: Callable[[int], object]) -> None:
        """Prepare; ``change`` goes over to the settings of a number."""
        self.happened = Counter[str]()
        self.failures: list[str] = []
        self._world = world
        self._stopped = threading.Event()
        plug = self._set("kitchen", "is_plugged")
        flood = self._set(FLOODED, "is_flooding")
        self._faults = [
            Fault("unplugged", 60, 5, lambda: plug(False), lambda: plug(True)),
            Fault("flooded by a source", 600, 30, lambda: flood(True), lambda: flood(False)),
            Fault(
                "disk full", 420, 20, lambda: setattr(Disk, "is_full", True), lambda: setattr(Disk, "is_full", False)
            ),
            Fault("slow consumer", 3_300, 1_500, slow.flows.clear, slow.flows.set),
            Fault("settings read again", 780, 0, lambda: change(self.happened["settings read again"])),
            Fault("paused", 1_140, 60, lambda: daemon.pause("hall"), lambda: daemon.resume("hall")),
            Fault("clock set", 1_020, 300, self._set_clock, self._set_clock_right),
        ]
        self._thread = threading.Thread(target=self._run, name="faults", daemon=True)

    def start(self) -> None:
        """Begin."""
        edge.event.datetime = SteppedClock  # type: ignore[attr-defined]
        self._thread.start()

    def stop(self) -> None:
        """End, with every fault over."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        begins_s = {fault.name: fault.every_s for fault in self._faults}
        ends_s: dict[str, float] = {}
        while not self._stopped.wait(0.005):
            now_s = self._world.clock.now_s
            for fault in self._faults:
                if now_s >= begins_s[fault.name]:
                    begins_s[fault.name] += fault.every_s
                    ends_s[fault.name] = now_s + fault.lasts_s
                    self._try(fault, fault.begin)
                    self.happened[fault.name] += 1
                elif fault.name in ends_s and now_s >= ends_s[fault.name]:
                    del ends_s[fault.name]
                    self._try(fault, fault.end)
        for fault in self._faults:
            self._try(fault, fault.end)

    def _try(self, fault: Fault, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:
            self.failures.append(f"{fault.name}: {error!r}")

    def _set(self, name: str, attribute: str) -> Callable[[bool], None]:
        def change(value: bool) -> None:
            for device in self._world.devices:
                if device.name == name:
                    setattr(device, attribute, value)

        return change

    def _set_clock(self) -> None:
        days = (-20_000, 1, -1, 30_000)[self.happened["clock set"] % 4]
        SteppedClock.step = timedelta(days=days)

    def _set_clock_right(self) -> None:
        SteppedClock.step = timedelta()
