"""Capture: every source becomes one stream of short 16 kHz mono blocks, and audio that is lost is counted."""

from edge.capture.base import BLOCK_S, Block, Replying, Rest, Source
from edge.capture.file import FileSource
from edge.capture.live import LiveSource
from edge.capture.microphone import Microphone
from edge.capture.open import device_of, is_recording, open_entry, open_source, open_sources, replying_of, rest_of
from edge.capture.pcm import PcmSource
from edge.capture.persistent import PersistentSource

__all__ = [
    "BLOCK_S",
    "Block",
    "FileSource",
    "LiveSource",
    "Microphone",
    "PcmSource",
    "PersistentSource",
    "Replying",
    "Rest",
    "Source",
    "device_of",
    "is_recording",
    "open_entry",
    "open_source",
    "open_sources",
    "replying_of",
    "rest_of",
]
