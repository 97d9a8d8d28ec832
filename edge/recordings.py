"""Which recordings there are at some paths, and what is left out."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.decoding import AUDIO_EXTENSIONS, FFMPEG_EXTENSIONS, ffmpeg
from edge.errors import UsageError, printable

logger = logging.getLogger(__name__)

NAMED = 3
"""Files that one line names; the others are counted."""
OTHER = "have no name of audio"
LeftOut = defaultdict[str, list[Path]]
"""From the reason to what it is about."""


def find_audio(paths: Sequence[Path]) -> list[Path]:
    """Return the files to analyse: given files in the given order, and in their place the audio files below folders.

    Folders are searched recursively, sorted by path, and what is left out there is logged: hidden files, what needs an
    ffmpeg that is not installed, links to folders, what is no file and, as information, what has no name of audio. A
    given file that does not exist is kept, to be reported among the results.

    Raises:
        UsageError: there is nothing to analyse, as no path exists or the folders hold no audio.
    """
    if not any(os.path.exists(path) for path in paths):
        raise UsageError(f"no such file or folder: {', '.join(map(str, paths))}")
    files = [file for path in paths for file in (_audio_below(path) if os.path.isdir(path) else [path])]
    if not files:
        raise UsageError(f"no audio in {', '.join(map(str, paths))} (known: {' '.join(sorted(AUDIO_EXTENSIONS))})")
    return files


def _audio_below(folder: Path) -> list[Path]:
    left, found = LeftOut(list), list[Path]()
    for path in _files_below(folder, left):
        objection = _objection(path)
        (left[objection] if objection else found).append(path)
    for reason, paths in left.items():
        names = ", ".join(str(path.relative_to(folder)) for path in sorted(paths)[:NAMED])
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        level = logging.INFO if reason == OTHER else logging.WARNING
        logger.log(level, "%s", printable(f"{folder}: left out {len(paths)} that {reason}: {names}{more}"))
    return sorted(found)


def _files_below(folder: Path, left: LeftOut) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        left[f"cannot be searched ({error.strerror})"].append(Path(error.filename))

    for here, folders, names in os.walk(folder, onerror=unreadable):
        for path in (Path(here, name) for name in folders):
            if path.is_symlink():
                left["are links to folders"].append(path)
        yield from (Path(here, name) for name in names)


def _objection(path: Path) -> str | None:
    """Return why a file in a folder is no recording, or None."""
    suffix = path.suffix.lower()
    if suffix not in AUDIO_EXTENSIONS | FFMPEG_EXTENSIONS:
        return OTHER
    if path.name.startswith("."):
        return "are hidden"
    if suffix in FFMPEG_EXTENSIONS and not ffmpeg.is_installed():
        return f"need ffmpeg (apt install ffmpeg, or convert each: ffmpeg -i in{suffix} out.flac)"
    if not path.is_file():
        return "are links to nothing" if path.is_symlink() else "are no files"
    return None
