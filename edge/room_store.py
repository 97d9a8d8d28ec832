"""Rooms on the disk: a small encrypted file for each source and encoder."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from edge.bundle import Bundle
from edge.errors import AffectdError, StoreError, UsageError, printable
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
        """Return all rooms by source; a file that is none is left out, with a line in the log.

        Raises:
            UsageError: the folder cannot be read.
        """
        found = [_read_or_log(path) for path in self._files(f"[!.]*{SUFFIX}")]
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
            UsageError, OutputError: it cannot be written.
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

    def reset(self, rooms: Sequence[StoredRoom]) -> int:
        """Remove rooms; a running ``affectd run`` follows. Needs no key; returns how many there were.

        Raises:
            UsageError: a file cannot be removed.
        """
        for room in rooms:
            _remove(room.path)
        return len(rooms)

    def remove(self, source: str, encoder_hash: str) -> None:
        """Remove the room of a source, if there is one; raises UsageError as ``reset``."""
        _remove(self.path(source, encoder_hash))

    def clear(self) -> int:
        """Remove all rooms, damaged ones too, and what a write that was cut off left; return how many there were.

        Raises:
            UsageError: a file cannot be removed.
        """
        rooms = self._files(f"[!.]*{SUFFIX}")
        for path in [*rooms, *self._files(f".*{SUFFIX}.*")]:
            _remove(path)
        return len(rooms)

    def _files(self, pattern: str) -> list[Path]:
        """Return what is in the folder, by name; unlike ``Path.glob`` not nothing where it cannot be read."""
        try:
            return sorted(path for path in self.folder.iterdir() if path.match(pattern))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UsageError(f"cannot read {self.folder}: {error.strerror}") from None


def _read_or_log(path: Path) -> StoredRoom | None:
    try:
        path.open("rb").close()  # safetensors calls whatever it cannot open missing
        return _read(path)
    except OSError as error:
        logger.warning("%s: cannot be read, and is ignored: %s", path, error.strerror)
    except (ValueError, KeyError, SafetensorError) as error:
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
