"""Pauses that somebody asked for, kept from one run to the next: who muted a microphone wants it to stay so."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from edge.errors import AffectdError
from edge.files import write_file

FILE_NAME = "paused.json"

logger = logging.getLogger(__name__)


class Pauses:
    """The sources that are paused, in a file beside the speaker store. Trouble with it is a line in the log."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        """Prepare; ``now`` is the wall clock, in seconds."""
        self._path, self._now = folder / FILE_NAME, now

    def remaining_s(self) -> dict[str, float | None]:
        """Return the sources that are to stay paused, by what they are opened from, for so long or without an end."""
        return {
            key: None if until is None else until - self._now()
            for key, until in self._read().items()
            if until is None or until > self._now()
        }

    def add(self, keys: Iterable[str], duration_s: float | None) -> None:
        """Take note of a pause, for so long or without an end."""
        until = None if duration_s is None else self._now() + duration_s
        self._write({**self._read(), **dict.fromkeys(keys, until)})

    def remove(self, keys: Iterable[str]) -> None:
        """Take note that it is listened to them again."""
        before, over = self._read(), set(keys)
        if over & before.keys():
            self._write({key: until for key, until in before.items() if key not in over})

    def _read(self) -> dict[str, float | None]:
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be read, so that nothing is paused any more: %s", self._path, error)
            return {}
        items = found.items() if isinstance(found, dict) else ()
        return {key: until for key, until in items if until is None or isinstance(until, (int, float))}

    def _write(self, paused: Mapping[str, float | None]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_file(self._path, json.dumps(paused, ensure_ascii=False), private=True)
        except (AffectdError, OSError) as error:
            logger.warning("the pause is forgotten when affectd ends: %s", error)
