"""By which bytes a format is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.decoding.tape import Tape

HEAD_BYTES = 24
FRAMES = 3
"""Frames of MPEG audio in a row that are no coincidence: a single header could be two samples of PCM."""
MPEG_KBPS = {
    # (MPEG 1, layer) to kbit/s by index
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MPEG_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""By the version's two bits: MPEG 1, 2 and 2.5."""


@dataclass(frozen=True)
class Format:
    """A format of audio files."""

    name: str
    decoder: Literal["wav", "flac", "ogg", "mpeg", "libsndfile", "ffmpeg"]
    streams: bool = True
    """Its decoder reads it from a pipe."""


WAV, FLAC, OGG = Format("WAV", "wav"), Format("FLAC", "flac"), Format("Ogg", "ogg")
MPEG = Format("MP3", "mpeg")
ADTS = Format("AAC", "ffmpeg")
AIFF = Format("AIFF", "libsndfile")
FORMATS: tuple[tuple[int, bytes, Format], ...] = (
    (0, b"fLaC", FLAC),
    (0, b"OggS", OGG),
    (0, b"riff\x2e\x91\xcf\x11", Format("Wave64", "libsndfile")),
    (0, b"RIFX", Format("WAV", "libsndfile")),
    (0, b"caff\0\1", Format("CAF", "libsndfile", streams=False)),
    (0, b"Creative Voice File\x1a", Format("VOC", "libsndfile", streams=False)),
    (0, b"NIST_1A\n", Format("NIST Sphere", "libsndfile", streams=False)),
    (4, b"ftyp", Format("MPEG-4", "ffmpeg")),
    (4, b"moov", Format("QuickTime", "ffmpeg")),
    (0, b"\x1aE\xdf\xa3", Format("WebM or Matroska", "ffmpeg")),
    (0, b"#!AMR", Format("AMR", "ffmpeg")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Format("Windows Media", "ffmpeg")),
    (0, b"wvpk", Format("WavPack", "ffmpeg")),
    (0, b"MAC ", Format("Monkey's Audio", "ffmpeg")),
    (0, b"TTA1", Format("True Audio", "ffmpeg")),
)
"""Offset, bytes that are always there, and the format."""


def recognised(tape: Tape) -> Format | None:
    """Return the format of what comes next, or None, as of raw PCM; nothing of it is passed over."""
    head = tape.peek(HEAD_BYTES)
    for offset, magic, found in FORMATS:
        if head.startswith(magic, offset):
            return found
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return WAV
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC", b"8SVX", b"16SV"):
        return AIFF
    if head[:4] == b".snd" and 24 <= int.from_bytes(head[4:8], "big") < 65_536:
        return Format("AU", "libsndfile")
    if id3_bytes(head):
        return MPEG
    return _mpeg_frames(tape)


def id3_bytes(head: bytes) -> int:
    """Return the length of the ID3v2 tag that ``head`` begins with; 0 without one."""
    if head[:3] != b"ID3" or len(head) < 10 or 0xFF in head[3:5] or any(byte > 0x7F for byte in head[6:10]):
        return 0
    return 10 + sum(byte << 7 * (3 - place) for place, byte in enumerate(head[6:10]))


def _mpeg_frames(tape: Tape) -> Format | None:
    start, found = 0, MPEG
    for _ in range(FRAMES):
        header = tape.peek(start + 6)[start:]
        if not (length := _frame_bytes(header)):
            return None
        found = MPEG if header[1] & 0x06 else ADTS
        start += length
    return found


def _frame_bytes(header: bytes) -> int:
    """Return the length of the frame of MPEG audio (ISO 11172-3, 13818-7) with this header; 0 if it is none."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    if layer == 4:
        length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
        return length if header[1] & 0xF0 == 0xF0 and header[2] >> 2 & 15 < 13 and length > 7 else 0
    index, rate, padded = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or index in (0, 15) or rate == 3:
        return 0
    bits_per_s, rate_hz = 1_000 * MPEG_KBPS[version == 3, layer][index - 1], MPEG_RATES_HZ[version][rate]
    if layer == 1:
        return (12 * bits_per_s // rate_hz + padded) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits_per_s // rate_hz + padded
