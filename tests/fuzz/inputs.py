"""Malformed inputs, the same for the same seed: noise, and good data that was damaged."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

HEADERS = (
    *(b"RIFF\x24\0\0\0WAVEfmt ", b"RIFF\xff\xff\xff\xffWAVE", b"RF64", b"fLaC", b"OggS\0\2", b"ID3\4", b"\xff\xfb\x90"),
    *(b"\x1aE\xdf\xa3", b"FORM\0\0\0\0AIFF", b".snd", b"ftypM4A "),
)
AUDIO: dict[str, object] = {"rate": 16_000, "width": 2, "channels": 1}
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
    drawn = noise(chance)
    if kind == 0:
        return drawn
    if kind == 1:
        return chance.choice(HEADERS)[: chance.randrange(1, 20)]
    return chance.choice(HEADERS) + (drawn if kind == 2 else bytes(len(drawn)))


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


def message(kind: str, data: dict[str, object] | None = None, payload: bytes = b"") -> bytes:
    """Return a message of Wyoming."""
    packed = json.dumps(data).encode() if data else b""
    lengths = {"data_length": len(packed), "payload_length": len(payload)}
    return json.dumps({"type": kind, **lengths}).encode() + b"\n" + packed + payload


def turn(chance: random.Random) -> bytes:
    """Return what a voice assistant may send in place of a turn."""
    audio = {**AUDIO, chance.choice(list(AUDIO)): chance.choice((1, 2, 3, 4, 0, -1, 44_100, 1e9, "2", None, True, []))}
    chunk = message(
        "audio-chunk", audio if chance.randrange(2) else AUDIO, chance.randbytes(chance.choice((0, 1, 640)))
    )
    turn = message("transcribe", {"language": "en"}) + message("audio-start", AUDIO) + chunk + message("audio-stop")
    return _wrong(chance, (turn, turn, message("describe"), message("ping", {"text": "a"}), chunk))


def words(chance: random.Random) -> bytes:
    """Return what a speech-to-text may answer."""
    contexts: Sequence[object] = (None, {}, {"affectd": 1}, [], 3)
    whole = message("transcript", {"text": "on", "context": chance.choice(contexts)})
    part = message("transcript-start") + message("transcript-chunk", {"text": "on"}) + whole
    info = message("info", {"asr": chance.choice((None, [], [3], [{}], [{"attribution": 1}]))})
    return _wrong(chance, (whole, part, info, message("error", {"text": "no"})))


def _wrong(chance: random.Random, good: Sequence[bytes]) -> bytes:
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.choice((0, 1, 40, 300))) + b"\n"
    if kind == 1:
        values = (None, True, -1, 1 << 70, 1e400, "x" * 5_000, [], {}, "\ud800")
        keys = ("type", "data", "data_length", "payload_length")
        return json.dumps({"type": "audio-stop", chance.choice(keys): chance.choice(values)}).encode() + b"\n"
    return damaged(chance.choice(good), chance) if kind == 2 else chance.choice(good)


def query(chance: random.Random) -> str:
    """Return the path and query of a WebSocket request."""
    keys = ("rate", "format", "codec", "token", "rat", "")
    values = ("48000", "1", "-1", "f32", "opus", "9" * 30, "%00", "", "\u00e9".encode().hex())
    pairs = "&".join(f"{chance.choice(keys)}={chance.choice(values)}" for _ in range(chance.randrange(3)))
    return f"{chance.choice(('/hall', '/hall', '/', '/../hall', '//'))}?{pairs}" if pairs else "/hall"
