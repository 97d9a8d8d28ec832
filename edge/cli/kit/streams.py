"""The three standard streams, whatever the program is started with: closed, full, or in an encoding of few letters."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress

from edge.errors import OutputError

PLAIN = str.maketrans("━─╌—–…·→×✓✗○≥≤°", "#--~-.*>x+xo><o")  # noqa: RUF001  (they are what it is about)
"""Signs of tables and texts, and what stands for each, as wide, where the encoding of a terminal lacks it."""
READABLE = "affectd.readable"
"""Name of the way to write what an encoding lacks: a plain sign, or its code."""


def open_streams() -> None:
    """Make sure that there are three streams, and that nothing printed can fail for its letters.

    What was closed is opened so that its use fails, as in the GNU tools; or the next file would be in its place, and be
    read or written instead. Only messages go nowhere.
    """
    for name, mode, flags in (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))
    codecs.register_error(READABLE, _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=READABLE)


def flush_output() -> None:
    """Write what standard output still holds; after an error it holds nothing, and its end cannot fail.

    Raises:
        BrokenPipeError: the reader has gone.
        OutputError: it cannot be written, as on a full disk.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, io.UnsupportedOperation):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def _readable(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end
