"""Offline analysis: many files in batches of similar length, with memory bounded by a chunk of utterances."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from edge.audio import AUDIO_EXTENSIONS, SAMPLE_RATE_HZ, Waveform, read_audio
from edge.capture import Block, FileSource
from edge.errors import AudioFileError, UsageError, printable
from edge.event import Event, wall_clock
from edge.hearing import SoundMeter, Window, why_unheard
from edge.people.conversation import Conversation, Recognition
from edge.people.household import Household
from edge.recognizer import Encoding, Recognizer
from edge.room import Room
from edge.segment import Segment
from edge.segmenter import segmented, spoken
from edge.settings import RoomSettings, Settings
from edge.stream import answer_event, new_segmenter

logger = logging.getLogger(__name__)

CHUNK_UTTERANCES = 64
CHUNK_S = 300.0
ROOM_ROUNDS = 2
"""Answers with what is known of the room, and the room from these answers; a third changes nothing of note."""
SAMPLES_NAME = "samples"
"""What an event names as its source where there is no file."""


@dataclass(frozen=True)
class Found:
    """What is in a recording at some place: an utterance, or the reason why it cannot be read (further)."""

    path: Path | None
    """None: samples that a program handed over."""
    content: Segment | AudioFileError


Encoded = tuple[Found, Encoding | None]
"""What was found, without its samples, and its encoding if it is an utterance."""


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
    one_room: bool = False,
) -> Iterator[Event]:
    """Yield the ``utterance`` events of each recording in order, and an ``error`` event where a file cannot be read.

    Args:
        recordings: files, see ``find_audio``, or ``float32[samples]`` at 16 kHz; consumed as the analysis proceeds.
            Each is a conversation of its own.
        recognizer: a loaded recogniser.
        household: a loaded household.
        settings: for voice activity, segments, the room and the review threshold.
        whole_file: exactly one event per recording, whatever is in it.
        one_room: all recordings are from one room, estimated from all of them before the first event. What is kept of
            an utterance until then is its embedding, not its audio.
    """
    encoded: Iterable[Encoded] = _encoded(recordings, recognizer, household, settings, whole_file)
    room = None
    if one_room:
        encoded = kept = list(encoded)
        room = _room_of(kept, household, settings.room)
    ids = count(1)
    for found, recognition in _recognized(encoded, Conversation(household, room)):
        source, path = (found.path.name, str(found.path)) if found.path else (SAMPLES_NAME, None)
        if isinstance(found.content, AudioFileError):
            yield Event("error", source, wall_clock(), path=path, message=str(found.content))
        elif recognition:
            event = answer_event("utterance", source, next(ids), found.content, recognition, settings)
            yield replace(event, revision=0, latency_ms=recognition.latency_ms, path=path)


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
    meter, windows, voices = SoundMeter(), list[Window](), 0
    try:
        for block, segments in segmented(blocks, new_segmenter(recognizer, settings)):
            windows += [] if voices else meter.windows(block)
            for segment in segments:
                voices += 1
                yield Found(path, segment)
    except AudioFileError as error:
        yield Found(path, error)
    else:
        if not voices:
            why = why_unheard(windows + meter.last(), settings.vad.gate_dbfs)
            logger.info("%s: no utterance: %s", printable(str(path or SAMPLES_NAME)), why)


def _encoded(
    recordings: Iterable[Path | Waveform],
    recognizer: Recognizer,
    household: Household,
    settings: Settings,
    whole_file: bool,
) -> Iterator[Encoded]:
    """Yield what is in the recordings, in order, encoded in chunks; the samples are let go."""
    chunk: list[Found] = []
    waiting_s = 0.0
    for recording in recordings:
        for found in _whole(recording) if whole_file else _utterances(recording, recognizer, settings):
            chunk.append(found)
            if isinstance(found.content, Segment):
                waiting_s += len(found.content.samples) / SAMPLE_RATE_HZ
            if len(chunk) == CHUNK_UTTERANCES or waiting_s >= CHUNK_S:
                yield from _encoded_chunk(chunk, recognizer, household)
                chunk, waiting_s = [], 0.0
    yield from _encoded_chunk(chunk, recognizer, household)


def _encoded_chunk(chunk: Sequence[Found], recognizer: Recognizer, household: Household) -> Iterator[Encoded]:
    waveforms = [found.content.samples for found in chunk if isinstance(found.content, Segment)]
    encodings = iter(recognizer.encode(waveforms, household.wants_voiceprints))
    for found in chunk:
        if isinstance(found.content, Segment):
            silent = replace(found.content, samples=np.zeros(0, np.float32))
            yield Found(found.path, silent), next(encodings)
        else:
            yield found, None


def _recognized(encoded: Iterable[Encoded], conversation: Conversation) -> Iterator[tuple[Found, Recognition | None]]:
    path: Path | None = None
    for found, encoding in encoded:
        if found.path != path:
            conversation.reset()
            path = found.path
        if isinstance(found.content, Segment) and encoding:
            recognition = conversation.recognize(encoding, found.content.start_s, found.content.end_s)
            conversation.follow(recognition)
            yield found, recognition
        else:
            yield found, None


def _room_of(encoded: Sequence[Encoded], household: Household, settings: RoomSettings) -> Room:
    """Return the room of all utterances, each of which weighs the same.

    What the answers say about the room, and the room about the answers, is settled in ``ROOM_ROUNDS``.
    """
    population = household.bundle.population
    room = Room(population, settings)
    for _ in range(ROOM_ROUNDS):
        said = [recognition for _, recognition in _recognized(encoded, Conversation(household, room)) if recognition]
        room = Room.of(
            population,
            settings,
            [recognition.without_person for recognition in said],
            [recognition.probabilities for recognition in said],
        )
    return room
