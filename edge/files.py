"""Files that are written complete or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.errors import OutputError, UsageError

HEAD_BYTES = 4_096
"""Of a file, by which an output is known."""
DISK_FAILURES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""That the user's words have no part in."""
PREFIX_CHARS = 50
"""Of a file's name in that of its temporary folder; a name has at most 255 bytes, a character at most 4."""


@contextmanager
def new_file(path: Path, private: bool = False, replace: bool = True) -> Iterator[Path]:
    """Yield a file of the same name to fill in, which then becomes ``path`` at once, even if the power fails.

    Args:
        path: in a folder that exists.
        private: only its owner can read and write it (0600).
        replace: whether a file that exists is replaced.

    Raises:
        FileExistsError: ``path`` exists and is not to be replaced.
        OSError: it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=f".{path.name[:PREFIX_CHARS]}.", dir=path.parent) as folder:
        new = Path(folder, path.name)
        if private:
            new.touch(mode=0o600)
        yield new
        _flush_to_disk(new)
        if replace:
            os.replace(new, path)
        else:
            os.link(new, path)
    _flush_to_disk(path.parent)


def write_file(path: Path, content: bytes | str, private: bool = False, replace: bool = True) -> None:
    """Write a file, complete or not at all; see ``new_file``. What is no file, such as a pipe, is written to as it is.

    Raises:
        UsageError: it cannot be written, it exists and is not to be replaced, or it is to be private and is no file.
        OutputError: the disk is full or failed.
    """
    try:
        data = content.encode() if isinstance(content, str) else content
        if path.exists() and not path.is_file():
            if private:
                raise UsageError(f"cannot write {path}: it is no file")
            path.write_bytes(data)
            return
        with new_file(path if private else path.resolve(), private, replace) as new:
            new.write_bytes(data)
    except FileExistsError:
        raise UsageError(f"{path} exists already") from None
    except OSError as error:
        kind = OutputError if error.errno in DISK_FAILURES else UsageError
        raise kind(f"cannot write {path}: {error.strerror}") from None
    except UnicodeEncodeError:
        raise UsageError(f"cannot write {path}: it would hold a path that is not UTF-8") from None


def check_writable(paths: Iterable[Path | None]) -> None:
    """Try all outputs before minutes are spent on what goes into them; None is skipped.

    Raises:
        UsageError: one cannot be written.
    """
    for path in filter(None, paths):
        try:
            existed = path.exists()
            path.open("ab").close()
            if not existed:
                path.unlink()
            if path.is_file() or not existed:
                tempfile.TemporaryFile(dir=path.resolve().parent).close()
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None


def check_replaceable(path: Path, kind: str, *marks: bytes) -> None:
    """Refuse to replace a file that is no earlier output of the same kind, such as a recording.

    Args:
        path: may be missing, empty, or no file, such as a pipe.
        kind: what an error calls the output.
        marks: what all outputs of this kind have within their first ``HEAD_BYTES``.

    Raises:
        UsageError: there is something else in it, or it cannot be read.
    """
    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    if head and not all(mark in head for mark in marks):
        raise UsageError(f"cannot write {path}: it exists and is no {kind}; name another file, or remove this one")


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
