"""How long a file should be: what its header promises, against what there is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from edge.decoding.reader import Note

UNKNOWN = 1 << 62
"""Frames and bytes of what does not know its length, at least."""
TRAILER_BYTES = 4_096
"""Behind a recording that may be anything, such as a tag."""


def length_note(promised: int, size: int) -> Note | None:
    """Return what there is to say about a file of ``size`` bytes of which so many are ``promised`` (0: unknown)."""
    if promised > size:
        return Note("partial", f"breaks off: {size} of {promised} bytes are there")
    if 0 < promised < size - TRAILER_BYTES:
        return Note("partial", f"{size - promised} bytes that follow the recording are not read")
    return None


def file_length_note(path: Path) -> Note | None:
    """Return what there is to say about the length of a file."""
    with path.open("rb") as file:
        head = file.read(24)
        size = os.fstat(file.fileno()).st_size
        if head[:4] == b"caff":
            promised = _walked(file, 8, size)
        elif head[4:8] == b"ftyp":
            promised = _walked(file, 0, size)
        else:
            promised = promised_bytes(head)
    return length_note(promised, size)


def promised_bytes(head: bytes) -> int:
    """Return the length by the header of AIFF, AU or Wave64; 0: it does not say, or it is another format."""
    if head[:4] == b"FORM":
        size = int.from_bytes(head[4:8], "big") + 8
    elif head[:4] == b".snd":
        size = int.from_bytes(head[4:8], "big") + int.from_bytes(head[8:12], "big")
    elif head[:4] == b"riff":
        size = int.from_bytes(head[16:24], "little")
    else:
        return 0
    return size if 128 < size < (UNKNOWN if head[:4] == b"riff" else 0xFFFF_FFF0) else 0


def _walked(file: BinaryIO, at: int, size: int) -> int:
    """Return where the chunks of a CAF, or the boxes of an MPEG-4 file, end or begin anew; 0: they do not say."""
    in_caf = at > 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        name = head[:4] if in_caf else head[4:8]
        if at > 8 and name in (b"caff", b"ftyp"):
            return at
        length = int.from_bytes(head[4:12] if in_caf else head[:4], "big")
        if in_caf:
            length += 12
        elif length == 1:
            length = int.from_bytes(head[8:16], "big")
        if not 8 <= length < UNKNOWN:
            return 0
        at += length
    return at
