"""The place of a bundle on disk: what may be replaced, and how."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from edge.bundle import MANIFEST_NAME
from edge.errors import UsageError


def check_target(target: Path) -> None:
    """Refuse to replace what is no bundle.

    Raises:
        UsageError: ``target`` holds something else than a bundle.
    """
    if not target.exists():
        return
    if not target.is_dir() or (not (target / MANIFEST_NAME).is_file() and any(target.iterdir())):
        raise UsageError(f"{target}: holds something else than a bundle; only a bundle or an empty folder is replaced")


def install(folder: Path, target: Path) -> None:
    """Put a finished bundle in the place of the old one, by renames: at any moment one of them is whole on disk.

    Raises:
        UsageError: ``target`` cannot be written.
    """
    try:
        _replace(folder, target.resolve())
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from None


def _replace(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        shutil.copytree(folder, new)
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
