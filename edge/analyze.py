"""Offline analysis: many files in batches of similar length, with memory bounded by a chunk of utterances."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge.audio import AUDIO_EXTENSIONS, SAMPLE_RATE_HZ, Waveform, read_audio
from edge.capture import Block, FileSource
from edge.errors import AudioFileError, UsageError
from edge.event import Event, wall_clock
from edge.people.conversation import Conversation
from edge.people.household import Household
from edge.recognizer import Recognizer
from edge.segmenter import Segment, segmented, spoken
from edge.settings import Settings
from edge.stream import new_segmenter, utterance_event

CHUNK_UTTERANCES = 64
CHUNK_S = 300.0
SAMPLES_NAME = "samples"
"""What an event names as its source where there is no file."""


@dataclass(frozen=True)
class Found:
    """What is in a recording at some place: an utterance, or the reason why it cannot be read (further)."""

    path: Path | None
    """None: samples that a program handed over."""
    content: Segment | AudioFileError


def find_audio(paths: Sequence[Path]) -> list[Path]:
    """Return the files to analyse: given files in the given order, and in their place the audio files below folders.

    Folders are searched recursively, sorted by path, leaving out hidden files. A given file that does not exist is
    kept, to be reported among the results.

    Raises:
        UsageError: there is nothing to analyse, as no path exists or the folders hold no audio.
    """
    if not any(os.path.exists(path) for path in paths):
        raise UsageError(f"no such file or folder: {', '.join(map(str, paths))}")
    files = [file for path in paths for file in (_audio_below(path) if os.path.isdir(path) else [path])]
    if not files:
        raise UsageError(f"no audio in {', '.join(map(str, paths))} (known: {' '.join(sorted(AUDIO_EXTENSIONS))})")
    return files


def analyze(
    recordings: Iterable[Path | Waveform],
    recognizer: Recognizer,
    household: Household,
    settings: Settings,
    whole_file: bool = False,
) -> Iterator[Event]:
    """Yield the ``utterance`` events of each recording in order, and an ``error`` event where a file cannot be read.

    Args:
        recordings: files, see ``find_audio``, or ``float32[samples]`` at 16 kHz; consumed as the analysis proceeds.
            Each is a conversation of its own.
        recognizer: a loaded recogniser.
        household: a loaded household.
        settings: for voice activity, segments and the review threshold.
        whole_file: exactly one event per recording, whatever is in it.
    """
    chunk: list[Found] = []
    waiting_s = 0.0
    analysis = _Analysis(recognizer, Conversation(household), settings)
    for recording in recordings:
        for found in _whole(recording) if whole_file else _utterances(recording, recognizer, settings):
            chunk.append(found)
            if isinstance(found.content, Segment):
                waiting_s += len(found.content.samples) / SAMPLE_RATE_HZ
            if len(chunk) == CHUNK_UTTERANCES or waiting_s >= CHUNK_S:
                yield from analysis.events(chunk)
                chunk, waiting_s = [], 0.0
    yield from analysis.events(chunk)


def whole_file_waveform(path: Path) -> Waveform:
    """Return the part of a file that stands for the whole of it, ``float32[samples]``: what is spoken in it.

    Raises:
        AudioFileError: the file cannot be read.
    """
    return spoken(read_audio(path))


def _audio_below(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )


def _whole(recording: Path | Waveform) -> Iterator[Found]:
    path = recording if isinstance(recording, Path) else None
    try:
        waveform = read_audio(recording) if isinstance(recording, Path) else recording
    except AudioFileError as error:
        yield Found(path, error)
    else:
        duration_s = len(waveform) / SAMPLE_RATE_HZ
        yield Found(path, Segment(spoken(waveform), 0.0, duration_s, duration_s))


def _utterances(recording: Path | Waveform, recognizer: Recognizer, settings: Settings) -> Iterator[Found]:
    path = recording if isinstance(recording, Path) else None
    blocks = FileSource(recording).blocks() if isinstance(recording, Path) else [Block(recording, 0.0)]
    try:
        for _, segments in segmented(blocks, new_segmenter(recognizer, settings)):
            for segment in segments:
                yield Found(path, segment)
    except AudioFileError as error:
        yield Found(path, error)


class _Analysis:
    """Chunks of what was found, in order, to events."""

    def __init__(self, recognizer: Recognizer, conversation: Conversation, settings: Settings) -> None:
        self._recognizer, self._conversation, self._settings = recognizer, conversation, settings
        self._path: Path | None = None

    def events(self, chunk: Sequence[Found]) -> Iterator[Event]:
        segments = [found.content for found in chunk if isinstance(found.content, Segment)]
        waveforms = [segment.samples for segment in segments]
        encodings = iter(self._recognizer.encode(waveforms, self._conversation.household.wants_voiceprints))
        for found in chunk:
            if found.path != self._path:
                self._conversation.reset()
                self._path = found.path
            source, path = (found.path.name, str(found.path)) if found.path else (SAMPLES_NAME, None)
            if isinstance(found.content, Segment):
                segment = found.content
                recognition = self._conversation.recognize(next(encodings), segment.start_s, segment.end_s)
                event = utterance_event(source, segment, recognition, recognition.latency_ms, self._settings)
                yield replace(event, path=path)
            else:
                yield Event("error", source, wall_clock(), path=path, message=str(found.content))
