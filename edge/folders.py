"""The user's folders, after the XDG base directory specification."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import platformdirs

from edge.errors import UsageError

NAME = "affectd"
NO_HOME = Path("/nonexistent")
"""The home of users without one, as Debian has it: nothing is there, and nothing can be written."""

logger = logging.getLogger(__name__)


def config_folder() -> Path:
    """Return the folder of the settings file: ``$XDG_CONFIG_HOME/affectd``, by default in ``~/.config``."""
    return _of_the_user(platformdirs.user_config_path, ".config")


def data_folder() -> Path:
    """Return the folder of the speaker store: ``$XDG_DATA_HOME/affectd``, by default in ``~/.local/share``."""
    return _of_the_user(platformdirs.user_data_path, ".local/share")


def cache_folder() -> Path:
    """Return the folder of what can be computed again: ``$XDG_CACHE_HOME/affectd``, by default in ``~/.cache``."""
    return _of_the_user(platformdirs.user_cache_path, ".cache")


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


def credential(name: str) -> str:
    """Return a secret that systemd hands to a service: ``$CREDENTIALS_DIRECTORY/NAME``; empty where there is none.

    Raises:
        UsageError: there is one that cannot be read.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return ""
    path = Path(folder, name)
    try:
        return path.read_text(encoding="utf-8").strip("\r\n")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(f"{path}: this credential cannot be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{path}: this credential is no UTF-8") from None


def _of_the_user(find: Callable[[str], Path], default: str) -> Path:
    """Return a folder of the user's; of one who has no home, or whose ``HOME`` is another's, there is none."""
    try:
        found = find(NAME)
        # As the specification says, and platformdirs before 4.11.8 (for Python 3.10) does not.
        if not found.is_absolute():
            found = Path.home() / default / NAME
        found.stat()
    except RuntimeError:
        return NO_HOME / default / NAME
    except PermissionError:
        _say_once(found)
        return NO_HOME / default / NAME
    except OSError:
        pass  # there is none yet
    return found


@cache
def _say_once(folder: Path) -> None:
    logger.warning("%s cannot be entered by this user, and is taken for empty: is HOME another's?", folder)
