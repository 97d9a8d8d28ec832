"""The user's folders, after the XDG base directory specification."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs

NAME = "affectd"


def config_folder() -> Path:
    """Return the folder of the settings file: ``$XDG_CONFIG_HOME/affectd``, by default in ``~/.config``."""
    return _absolute(platformdirs.user_config_path(NAME), ".config")


def data_folder() -> Path:
    """Return the folder of the speaker store: ``$XDG_DATA_HOME/affectd``, by default in ``~/.local/share``."""
    return _absolute(platformdirs.user_data_path(NAME), ".local/share")


def cache_folder() -> Path:
    """Return the folder of what can be computed again: ``$XDG_CACHE_HOME/affectd``, by default in ``~/.cache``."""
    return _absolute(platformdirs.user_cache_path(NAME), ".cache")


def runtime_folders() -> list[Path]:
    """Return where sockets may be, the preferred place first: ``$XDG_RUNTIME_DIR/affectd`` if there is such a folder.

    Not by platformdirs, whose second choice differs between its versions.
    """
    temporary = Path(tempfile.gettempdir(), f"{NAME}-{os.getuid()}")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return [Path(runtime, NAME), temporary] if os.path.isabs(runtime) and os.path.isdir(runtime) else [temporary]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path whose ``~`` is the user's home; as it is when there is no such user, for a file may be named so."""
    return Path(os.path.expanduser(path))


def _absolute(found: Path, default: str) -> Path:
    """Ignore a relative folder, as the specification says and platformdirs before 4.11.8 (for Python 3.10) does not."""
    return found if found.is_absolute() else Path.home() / default / NAME
