"""A device that outlasts what happens to it: opened again after an outage or a sleep, closed while it is paused."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import replace

import numpy as np

from edge.capture.base import Block, Source
from edge.decoding import Note
from edge.errors import AudioDeviceError

FIRST_RETRY_S, LONGEST_RETRY_S = 0.25, 10.0
"""From one attempt to open it to the next: at first, and after many."""
ASLEEP_S = 1.0
"""The clock that runs on while the machine sleeps may be this much ahead by accident."""


class PersistentSource:
    """Keeps a device going. What happens to it is said in ``notes``, and the clock of the source goes on meanwhile.

    An outage counts as lost audio; a pause, and a sleep of the machine, do not.
    """

    def __init__(self, source: Source, patient: bool = False) -> None:
        """Prepare.

        Args:
            source: whose ``blocks`` can be called again, and raises AudioDeviceError when the device goes away.
            patient: wait for a device that is not there at first; otherwise that is an error.
        """
        self.inner, self.can_wait = source, source.can_wait
        self._patient = patient
        self._closed = self._paused = self._asleep = False
        self._changed = threading.Condition()
        self._retry_s = FIRST_RETRY_S
        self._trouble = ""
        """Why it is gone, while it is."""
        self._delivered_at_s: float | None = None
        """When the last sample was delivered, on the monotonic clock; None: none was."""
        self._paused_s = self._slept_s = 0.0
        """Since then: time in which nobody wanted to listen, and time that the monotonic clock has slept through."""

    @property
    def name(self) -> str:
        """The device's name."""
        return self.inner.name

    def blocks(self) -> Iterator[Block]:
        """Yield blocks until ``close``, or until the source ends by itself; see ``Source.blocks``.

        Raises:
            AudioDeviceError: the device cannot be opened at first, unless ``patient``.
        """
        while not self._closed:
            if self._paused:
                yield from self._pause()
                continue
            try:
                yield from self._until_interrupted()
            except AudioDeviceError as error:
                if self._delivered_at_s is None and not self._patient:
                    raise
                if not self._trouble:
                    self._trouble = str(error)
                    yield _gap(Note("disconnected", f"{error}; it is tried again"))
                self._wait(paused=False, longest_s=self._retry_s)
                self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)
                continue
            if not (self._paused or self._asleep):
                return

    def close(self) -> None:
        """End ``blocks`` soon; callable from any thread and more than once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.inner.close()

    def pause(self) -> None:
        """Close the device until ``go_on``; callable from any thread."""
        self._set_paused(True)

    def go_on(self) -> None:
        """Open the device again."""
        self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def _wait(self, paused: bool, longest_s: float | None = None) -> None:
        """Wait as long as it is paused, or is not, and not closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._paused is not paused, longest_s)

    def _pause(self) -> Iterator[Block]:
        started_s = time.monotonic()
        yield _gap()
        self._wait(paused=True)
        self._paused_s += time.monotonic() - started_s

    def _until_interrupted(self) -> Iterator[Block]:
        """Yield from one opening of the device to its end, a pause, or the machine's sleep."""
        self._asleep = False
        slept_s = sleep_s()
        first = self._delivered_at_s is not None or bool(self._trouble)
        blocks = self.inner.blocks()
        try:
            for block in blocks:
                if self._paused:
                    return
                yield self._after_gap(block) if first else block
                first = False
                self._delivered_at_s = block.captured_at_s
                if sleep_s() - slept_s > ASLEEP_S:
                    # What a device delivers after a sleep is not to be trusted, if it delivers anything.
                    self._asleep = True
                    self._slept_s += sleep_s() - slept_s
                    yield _gap(Note("suspended", f"the machine was asleep for {self._slept_s:.0f} s"))
                    return
        finally:
            if isinstance(blocks, Generator):
                blocks.close()

    def _after_gap(self, block: Block) -> Block:
        """Return the first block after a gap with what the gap was."""
        frames = len(block.samples) if block.arrived is None else len(block.arrived)
        began_s = block.captured_at_s - frames / block.rate_hz
        gap_s = began_s - self._delivered_at_s if self._delivered_at_s is not None else 0.0
        rest_s = max(0.0, gap_s - self._paused_s - block.paused_s)
        # What begins without audio waits for somebody who sends some: nothing was lost.
        lost_s, waited_s = (rest_s, 0.0) if frames else (0.0, rest_s)
        notes = (Note("connected", f"is back after {lost_s:.1f} s"), *block.notes) if self._trouble else block.notes
        paused_s = self._paused_s + self._slept_s + block.paused_s + waited_s
        self._paused_s, self._slept_s, self._trouble, self._retry_s = 0.0, 0.0, "", FIRST_RETRY_S
        return replace(block, lost_s=block.lost_s + lost_s, paused_s=paused_s, restarted=True, notes=notes)


def _gap(*notes: Note) -> Block:
    """Return a block without samples that ends what was being said."""
    return Block(np.zeros(0, np.float32), time.monotonic(), restarted=True, notes=notes)


def sleep_s() -> float:
    """Return how long the machine has slept since it was started, as far as the system tells: on Linux."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.clock_gettime(clock) - time.monotonic()
