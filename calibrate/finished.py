"""What is finished and must not be replaced by mistake: runs, bundles, reports."""

from __future__ import annotations

from pathlib import Path

from edge.errors import UsageError


def keep_finished(path: Path, force: bool, *names: str) -> None:
    """Refuse to replace what is finished, before minutes are spent on what would replace it.

    Args:
        path: folder, or without names the file, that is to be written.
        force: it may be replaced.
        names: files that the folder holds once it is finished.

    Raises:
        UsageError: it is there.
    """
    there = [name for name in names if (path / name).is_file()] if names else [path.name] * path.is_file()
    if there and not force:
        where = f"{path} holds {there[0]} already" if names else f"{path} exists already"
        raise UsageError(f"{where}; --force replaces it, --out writes elsewhere")
