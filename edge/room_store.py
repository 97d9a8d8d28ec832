"""Rooms on the disk: a small file for each source and encoder, encrypted, and following a room while it runs."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from edge.arrays import Matrix
from edge.bundle import Bundle
from edge.errors import AffectdError, StoreError, UsageError
from edge.event import wall_clock
from edge.files import write_file
from edge.folders import data_folder
from edge.people.store.speakers import DATABASE_NAME
from edge.people.store.vault import Vault
from edge.room import Room
from edge.settings import RoomSettings, Settings

FOLDER_NAME = "rooms"
SUFFIX = ".safetensors"
FORMAT = "2"
SAVE_S = 300.0
"""From one time that a running room is saved to the next."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredRoom:
    """A room as it is on the disk. All but the estimate can be read without the key."""

    path: Path
    source: str
    encoder_hash: str
    """SHA-256 of the emotion encoder: what different encoders made never mixes."""
    bundle: str
    """Name and version, for people."""
    changed_at: datetime
    utterances: float
    """See ``Room.utterances``."""
    sealed: bytes
    """``Room.tensors``, sealed by the key of the speaker store."""


class RoomStore:
    """The remembered rooms, in ``rooms`` beside the speaker store. The constructor is cheap and cannot fail."""

    def __init__(self, settings: Settings) -> None:
        self.folder = (settings.speakers.store_folder or data_folder()) / FOLDER_NAME

    def path(self, source: str, encoder_hash: str) -> Path:
        """Return the file of a source's room; a source may be called anything, so the name is a hash."""
        name = hashlib.sha256(f"{printable(source)}\n{encoder_hash}".encode()).hexdigest()
        return self.folder / f"{name[:32]}{SUFFIX}"

    def rooms(self) -> list[StoredRoom]:
        """Return all rooms by source; a file that is none is left out, with a line in the log."""
        found = [_read_or_log(path) for path in sorted(self.folder.glob(f"*{SUFFIX}"))]
        return sorted(filter(None, found), key=lambda room: (room.source, room.changed_at))

    def load(self, source: str, bundle: Bundle, settings: RoomSettings) -> Room:
        """Return the room of a source as it was saved; one that is absent, damaged or foreign is a new one."""
        path = self.path(source, bundle.encoder_hash)
        stored = _read_or_log(path) if os.path.exists(path) else None
        if stored:
            try:
                return self.unseal(stored, bundle, settings)
            except AffectdError as error:
                logger.warning("%s: the room is estimated anew: %s", path, error)
        return Room(bundle.population, settings)

    def unseal(self, stored: StoredRoom, bundle: Bundle, settings: RoomSettings) -> Room:
        """Return a stored room.

        Raises:
            StoreError: the key is missing or another one, or the file is damaged.
            ModelError: it is no room of this model.
        """
        vault = Vault.load(self.folder.parent)
        plain = vault.open(stored.sealed, *_context(stored.source, stored.encoder_hash))
        if plain is None:
            raise StoreError(f"{stored.path}: is damaged, or was sealed with another key than {vault.origin}")
        room = Room(bundle.population, settings)
        room.restore(load(plain))
        return room

    def save(self, source: str, bundle: Bundle, room: Room) -> None:
        """Write a room, complete or not at all, sealed and readable by its owner alone.

        Raises:
            UsageError: it cannot be written.
            StoreError: the key cannot be read.
        """
        manifest = bundle.manifest
        facts = {
            "format": FORMAT,
            "source": printable(source),
            "encoder": bundle.encoder_hash,
            "bundle": f"{manifest.name} {manifest.version}",
            "changed_at": wall_clock(),
            "utterances": repr(room.utterances),
        }
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            # Where there is a speaker store, the key is its own to make.
            store = self.folder.parent
            vault = Vault.load(store, may_create=not (store / DATABASE_NAME).exists())
        except OSError as error:
            raise UsageError(f"cannot write {self.folder}: {error.strerror}") from None
        sealed = vault.seal(save(room.tensors()), *_context(facts["source"], bundle.encoder_hash))
        content = save({"sealed": np.frombuffer(sealed, np.uint8)}, facts)
        write_file(self.path(source, bundle.encoder_hash), content, private=True)

    def reset(self, rooms: Sequence[StoredRoom]) -> None:
        """Remove rooms; a running ``affectd run`` follows. Needs no key.

        Raises:
            UsageError: a file cannot be removed.
        """
        for room in rooms:
            _remove(room.path)

    def clear(self) -> int:
        """Remove all rooms, damaged ones too, and what a write that was cut off left; return how many there were.

        Raises:
            UsageError: a file cannot be removed.
        """
        rooms = list(self.folder.glob(f"[!.]*{SUFFIX}"))
        for path in [*rooms, *self.folder.glob(f".*{SUFFIX}.*")]:
            _remove(path)
        return len(rooms)


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
            self._room.clear()
        self._everyone = everyone

    def follow(self, embedding: Matrix, probabilities: Matrix) -> str | None:
        """Take an utterance after it was answered, see ``Room.update``; return what there is to say about the room."""
        if self._was_reset():
            self._kept = False
            self._room.clear()
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
        except (UsageError, StoreError) as error:
            logger.warning("the room of %s is not remembered: %s", self._source, error)

    def _was_reset(self) -> bool:
        """Somebody removed the file meanwhile."""
        if self._store is None or self._source is None or not self._kept:
            return False
        return not os.path.exists(self._store.path(self._source, self._bundle.encoder_hash))


def printable(source: str) -> str:
    """Return a name that is UTF-8, as those of files and devices need not be."""
    return source.encode(errors="backslashreplace").decode()


def _read_or_log(path: Path) -> StoredRoom | None:
    try:
        return _read(path)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        logger.warning("%s: is no room, and is ignored: %s", path, error)
        return None


def _read(path: Path) -> StoredRoom:
    with safe_open(path, "numpy") as file:
        facts, sealed = file.metadata() or {}, file.get_tensor("sealed").tobytes()
    if facts["format"] != FORMAT:
        raise ValueError(f"format {facts['format']}, not {FORMAT}")
    changed_at, utterances = datetime.fromisoformat(facts["changed_at"]), float(facts["utterances"])
    if changed_at.tzinfo is None or not 0 <= utterances < math.inf:
        raise ValueError(f"{utterances} utterances until {changed_at}")
    return StoredRoom(path, facts["source"], facts["encoder"], facts["bundle"], changed_at, utterances, sealed)


def _context(source: str, encoder_hash: str) -> tuple[str, str, str]:
    """Return what the estimate is bound to: moved to another source or model it does not open."""
    return "room", source, encoder_hash


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass  # its writer was faster
    except OSError as error:
        raise UsageError(f"cannot remove {path}: {error.strerror}") from None
