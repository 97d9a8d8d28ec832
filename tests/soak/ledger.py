"""What must add up: events, utterances, audio, and the process's own memory, threads and descriptors."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

from edge.event import Event

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Ledger:
    """An output that checks events as they come, and keeps no more of them than of utterances that are not over."""

    def __init__(self) -> None:
        self.name = "ledger"
        self.events = 0
        self.ended = Counter[str]()
        """Utterances that ended, by the type of their last event, and of ``skipped`` the reason."""
        self.reasons = Counter[str]()
        """Of ``status`` events."""
        self.faults: list[str] = []
        """What must not be."""
        self._revisions: dict[int, int] = {}
        """Of the utterances that are not over, by id."""
        self.newest = 0
        """Highest id so far."""

    @property
    def unfinished(self) -> int:
        """Utterances that are not over."""
        return len(self._revisions)

    def open(self) -> None:
        """Nothing is to prepare."""

    def close(self) -> None:
        """Nothing is to let go of."""

    def write(self, event: Event) -> None:
        """Take an event."""
        self.events += 1
        if event.type == "status" and event.reason:
            self.reasons[event.reason] += 1
        if event.type == "error":
            self.faults.append(f"error: {event.message}")
        if event.id is None:
            return
        revision = self._revisions.pop(event.id, -1) + 1
        if revision == 0 and event.id <= self.newest and event.type != "speech_start":
            self.faults.append(f"{event.type} of utterance {event.id}, which is over")
        if event.revision != revision:
            self.faults.append(f"utterance {event.id}: revision {event.revision} in place of {revision}")
        self.newest = max(self.newest, event.id)
        if event.type == "utterance":
            self.ended["utterance"] += 1
        elif event.type == "skipped":
            self.ended[f"skipped, {event.reason}"] += 1
        else:
            self._revisions[event.id] = revision


class Counting:
    """An output that counts, and is slow while it is told to be."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events = 0
        self.flows = threading.Event()
        self.flows.set()

    def open(self) -> None:
        """Nothing is to prepare."""

    def close(self) -> None:
        """Nothing is to let go of."""

    def write(self, event: Event) -> None:
        """Take an event, once it may flow."""
        self.flows.wait()
        self.events += 1


def resident_mb() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * PAGE_BYTES / 1e6


def threads() -> int:
    """Return how many threads this process has, those of libraries as well."""
    return len(os.listdir("/proc/self/task"))


def descriptors() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd"))
