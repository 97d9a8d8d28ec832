"""Malformed inputs, the same for the same seed: noise, and good data that was damaged."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

HEADERS = (
    *(b"RIFF\x24\0\0\0WAVEfmt ", b"RIFF\xff\xff\xff\xffWAVE", b"RF64", b"fLaC", b"OggS\0\2", b"ID3\4", b"\xff\xfb\x90"),
    *(b"\x1aE\xdf\xa3", b"FORM\0\0\0\0AIFF", b".snd", b"ftypM4A "),
)
REQUESTS = (
    {"do": "status"},
    {"do": "double", "number": 2},
    {"do": "timing"},
    {"do": "pause", "source": "hall", "for_s": 1},
)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return data with bytes changed, cut out, doubled or put in."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        if not result:
            break
        place = chance.randrange(len(result))
        length = chance.choice((1, 1, 4, 64, len(result)))
        kind = chance.randrange(5)
        if kind == 0:
            result[place] = chance.randrange(256)
        elif kind == 1:
            del result[place : place + length]
        elif kind == 2:
            result[place:place] = result[place : place + min(length, 4_096)]
        elif kind == 3:
            result[place:place] = chance.randbytes(min(length, 4_096))
        else:
            del result[place:]
    return bytes(result)


def noise(chance: random.Random) -> bytes:
    """Return random bytes, or none."""
    return chance.randbytes(chance.choice((0, 1, 3, 40, 200)))


def stream(chance: random.Random) -> bytes:
    """Return what a client may send in place of audio, short, so that thousands pass in minutes."""
    kind = chance.randrange(4)
    if kind == 0:
        return noise(chance)
    if kind == 1:
        return chance.choice(HEADERS)[: chance.randrange(1, 20)]
    return chance.choice(HEADERS) + (noise(chance) if kind == 2 else bytes(len(noise(chance))))


def request(chance: random.Random) -> bytes:
    """Return what a client may ask for in place of a request."""
    good = json.dumps(chance.choice(REQUESTS)).encode() + b"\n"
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.choice((1, 10, 300))) + b"\n"
    if kind == 1:
        values: Sequence[object] = (None, True, -1, 1e400, "x" * 5_000, [], {"do": []}, "\ud800")
        return json.dumps({"do": chance.choice(values), "source": chance.choice(values)}).encode() + b"\n"
    return damaged(good, chance) if kind == 2 else b"[" * chance.choice((1, 1_000, 50_000)) + b"\n"


def query(chance: random.Random) -> str:
    """Return the path and query of a WebSocket request."""
    keys = ("rate", "format", "codec", "token", "rat", "")
    values = ("48000", "1", "-1", "f32", "opus", "9" * 30, "%00", "", "\u00e9".encode().hex())
    pairs = "&".join(f"{chance.choice(keys)}={chance.choice(values)}" for _ in range(chance.randrange(3)))
    return f"{chance.choice(('/hall', '/hall', '/', '/../hall', '//'))}?{pairs}" if pairs else "/hall"
