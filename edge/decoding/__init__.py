"""Decoding: files, pipes and streams become blocks of channels, whole, or with a note of what is missing."""

from edge.decoding.open import AUDIO_EXTENSIONS, FFMPEG_EXTENSIONS, open_audio, open_stream, raw_stream
from edge.decoding.reader import PEAK_LIMIT, RATES_HZ, AudioReader, Note

__all__ = [
    "AUDIO_EXTENSIONS",
    "FFMPEG_EXTENSIONS",
    "PEAK_LIMIT",
    "RATES_HZ",
    "AudioReader",
    "Note",
    "open_audio",
    "open_stream",
    "raw_stream",
]
