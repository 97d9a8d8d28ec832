"""What the binary messages of a WebSocket are, from its query, and how each becomes 16-bit mono PCM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edge.errors import AudioDeviceError, AudioFileError, UsageError, nearest, one_of

KEYS = ("rate", "format", "codec", "token")
FORMATS = ("s16", "f32")
CODECS = ("pcm", "opus")
RATES_HZ = range(8_000, 192_001)
OPUS_HZ = 48_000

Converter = Callable[[bytes], bytes]
"""From a message to PCM; raises AudioFileError."""


def check_query(query: Mapping[str, str]) -> None:
    """Raise UsageError, with what is allowed, if a query is not understood."""
    for key in query:
        if key not in KEYS:
            raise UsageError(f"unknown key {key!r}{nearest(key, KEYS)}: {', '.join(KEYS)}")
    one_of("format", query.get("format", "s16"), FORMATS)
    codec = one_of("codec", query.get("codec", "pcm"), CODECS)
    rate = query.get("rate", "16000")
    if not rate.isdecimal() or len(rate) > 6 or int(rate) not in RATES_HZ:
        raise UsageError(f"rate {rate!r} is no sample rate from {RATES_HZ[0]} to {RATES_HZ[-1]} Hz")
    if codec == "opus" and query.keys() & {"rate", "format"}:
        raise UsageError("Opus says itself what it is: codec=opus stands alone")


class MessageStream:
    """Messages as a stream of bytes."""

    def __init__(self, receive: Callable[[], bytes | None], convert: Converter) -> None:
        """Prepare; ``receive`` waits for a message, and returns None at the end."""
        self._receive, self._convert = receive, convert
        self._data = b""

    def read(self, size: int, /) -> bytes:
        """Wait for some bytes and return them; none at the end."""
        while not self._data:
            message = self._receive()
            if message is None:
                return b""
            self._data = self._convert(message)
        data, self._data = self._data[:size], self._data[size:]
        return data

    def close(self) -> None:
        """Leave the connection to its client, who knows the reason."""


def converter(query: Mapping[str, str]) -> Converter:
    """Return what converts the messages of a connection, in order; the query is one that was checked."""
    if query.get("codec") == "opus":
        return OpusDecoder()
    return _from_f32() if query.get("format") == "f32" else bytes


class OpusDecoder:
    """Opus packets, one a message, mono or stereo, to mono at 48 kHz."""

    def __init__(self) -> None:
        self._codec = import_av().CodecContext.create("opus", "r")

    def __call__(self, packet: bytes) -> bytes:
        """Return the PCM of a packet."""
        av = import_av()
        try:
            frames = self._codec.decode(av.Packet(packet)) if packet else []
        except av.error.FFmpegError as error:
            raise AudioFileError(f"a message is no Opus packet: {error.strerror}") from None
        return b"".join(_pcm(frame.to_ndarray().mean(axis=0)) for frame in frames)


def import_av() -> Any:
    """Return PyAV; raises AudioDeviceError, with what to install, where it is missing."""
    try:
        import av  # noqa: PLC0415  (an optional extra)
    except ImportError:
        raise AudioDeviceError("Opus needs PyAV: pip install 'affectd[web]'") from None
    return av


def _from_f32() -> Converter:
    """Return a converter of little-endian float samples, of which a message may hold a part."""
    rest = b""

    def convert(message: bytes) -> bytes:
        nonlocal rest
        data = rest + message
        whole = len(data) // 4 * 4
        rest = data[whole:]
        return _pcm(np.frombuffer(data[:whole], "<f4"))

    return convert


def _pcm(samples: Any) -> bytes:
    """Return ``float[n]`` of ±1 as 16-bit PCM; what is no number is silence."""
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    pcm: bytes = (np.clip(finite, -1.0, 32_767 / 32_768) * 32_768).astype("<i2").tobytes()
    return pcm
