"""The room of a stream while it runs: estimated, remembered, and started anew where it was reset or has changed."""

from __future__ import annotations

import logging
import math
import os
import time

import numpy as np

from edge.arrays import Matrix
from edge.bundle import Bundle
from edge.errors import AffectdError, UsageError
from edge.room import Room
from edge.room_store import RoomStore
from edge.settings import Settings

SAVE_S = 300.0
"""From one time that a running room is saved to the next."""

logger = logging.getLogger(__name__)


class StreamRoom:
    """The room of one stream while it runs: under the source's name, remembered and saved where that is wanted."""

    def __init__(self, bundle: Bundle, settings: Settings, is_recording: bool) -> None:
        """Prepare; nothing is kept of a recording, which is to sound the same whenever it is played."""
        self._bundle, self._settings = bundle, settings.room
        self._store = RoomStore(settings) if settings.room.remember and not is_recording else None
        self._can_change = len(bundle.manifest.corpora) > 1
        """A bundle that was trained on one corpus does not know what rooms differ in."""
        self._source: str | None = None
        self._room = Room(bundle.population, settings.room)
        self._kept = False
        """There was a file of this room when it was last looked for."""
        self._saved_at_s = -math.inf
        self._everyone: frozenset[str] = frozenset()
        self._trouble = ""
        """Why the room was not saved the last time."""

    def of(self, source: str) -> Room:
        """Return the room of the source by its present name: another microphone is another room."""
        if source != self._source:
            self.save()
            self._source = source
            self._room = Room(self._bundle.population, self._settings)
            if self._store:
                self._room = self._store.load(source, self._bundle, self._settings)
            self._kept = self._room.utterances > 0
            # A new one is saved at once, so that it can be listed and reset.
            self._saved_at_s = time.monotonic() if self._kept else -math.inf
        return self._room

    def follow_people(self, everyone: frozenset[str]) -> None:
        """Forget the room once someone enrolled is forgotten, who may have been heard in it; ``everyone`` is by id."""
        if self._everyone - everyone:
            self.reset()
        self._everyone = everyone

    @property
    def facts(self) -> dict[str, float]:
        """``utterances`` that it rests on, the ``share`` of it that is applied, and its ``distance`` from usual, see
        ``Room``; from any thread."""
        room = self._room
        return {
            "utterances": round(room.utterances, 1),
            "share": round(room.share, 4),
            "distance": round(room.distance, 2),
        }

    def reset(self) -> None:
        """Forget it, and estimate it anew."""
        self._room.clear()
        self._remove()

    def follow(self, embedding: Matrix, probabilities: Matrix) -> str | None:
        """Take an utterance after it was answered, see ``Room.update``; return what there is to say about the room."""
        if self._was_reset():
            self._kept = False
            self._room.clear()
            # Another process on this source is to notice the reset, too, before there is a file again.
            self._saved_at_s = time.monotonic()
        if np.isfinite(embedding).all():  # a sum would never be rid of it
            self._room.update(embedding, probabilities)
        news = None
        if self._can_change and self._room.has_changed():
            self._room.restart()
            news = "the source sounds like another room than before: its room is estimated anew"
        if time.monotonic() - self._saved_at_s >= SAVE_S:
            self.save()
        return news

    def save(self) -> None:
        """Write the room, where it is remembered; trouble is a line in the log, and stops nothing."""
        self._saved_at_s = time.monotonic()
        if self._store is None or self._source is None or not self._room.utterances or self._was_reset():
            return
        try:
            self._store.save(self._source, self._bundle, self._room)
            self._kept = True
        except AffectdError as error:
            # Where nothing can be written, once is enough.
            if str(error) != self._trouble:
                logger.warning("the room of %s is not remembered: %s", self._source, error)
            self._trouble = str(error)

    def _remove(self) -> None:
        """Remove the file; trouble is a line in the log."""
        self._kept = False
        if self._store and self._source is not None:
            try:
                self._store.remove(self._source, self._bundle.encoder_hash)
            except UsageError as error:
                logger.warning("the room of %s is still remembered: %s", self._source, error)

    def _was_reset(self) -> bool:
        """Somebody removed the file meanwhile."""
        if self._store is None or self._source is None or not self._kept:
            return False
        return not os.path.exists(self._store.path(self._source, self._bundle.encoder_hash))
