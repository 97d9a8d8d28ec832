"""Offline analysis: many files in batches of similar length, with memory bounded by a chunk of utterances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.capture import Block, FileSource
from edge.errors import AudioFileError, printable
from edge.event import Event, StatusReason, wall_clock
from edge.hearing import SoundMeter, Window, why_unheard
from edge.people.conversation import Conversation, Recognition
from edge.people.household import Household
from edge.recognizer import Encoding, Recognizer
from edge.room import Room
from edge.segment import Segment
from edge.segmenter import segmented
from edge.settings import RoomSettings, Settings
from edge.spoken import spoken
from edge.stream import new_segmenter
from edge.utterance_events import answer_event
from edge.whole_file import joined, read_whole

CHUNK_UTTERANCES = 64
CHUNK_S = 300.0
READ_SAMPLES = SAMPLE_RATE_HZ
ROOM_ROUNDS = 2
"""Answers with what is known of the room, and the room from these answers; a third changes nothing of note."""
GRAVEST: tuple[StatusReason, ...] = ("partial", "no_speech", "repaired")
"""What is said first of a file that is one utterance."""
SAMPLES_NAME = "samples"
"""What an event names as its source where there is no file."""


@dataclass(frozen=True)
class Found:
    """What is in a recording at some place."""

    path: Path | None
    """None: samples that a program handed over."""
    content: Segment | AudioFileError | None
    """An utterance, or the reason why it cannot be read (further)."""
    reason: StatusReason | None = None
    """What else there is to say about it."""
    message: str | None = None
    """That, for people."""
    earlier: tuple[Encoding, ...] = ()
    """Of the stretches before the utterance's samples, if it is a long recording."""


Encoded = tuple[Found, Encoding | None]
"""What was found, without its samples, and its encoding if it is an utterance."""


def analyze(
    recordings: Iterable[Path | Waveform],
    recognizer: Recognizer,
    household: Household,
    settings: Settings,
    whole_file: bool = False,
    one_room: bool = False,
) -> Iterator[Event]:
    """Yield the events of each recording in order.

    They are an ``utterance`` for each, an ``error`` where a file cannot be read (further), and a ``status`` where there
    is no utterance in it, where samples were repaired, or where not all of it is there.

    Args:
        recordings: files, see ``edge.recordings``, or ``float32[samples]`` at 16 kHz; consumed as the analysis
            proceeds. Each is a conversation of its own.
        recognizer: a loaded recogniser.
        household: a loaded household.
        settings: for voice activity, segments, the room and the review threshold.
        whole_file: exactly one event per recording, whatever is in it; its ``message`` is what else there is to say.
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
        elif not found.content:
            message = printable(f"{path or source}: {found.message}")
            yield Event("status", source, wall_clock(), path=path, reason=found.reason, message=message)
        elif recognition:
            event = answer_event("utterance", source, next(ids), found.content, recognition, settings)
            about = replace(event, path=path, reason=found.reason, message=found.message)
            yield replace(about, revision=0, latency_ms=recognition.latency_ms)


def whole_file_waveform(path: Path) -> Waveform:
    """Return the part of a file that stands for the whole of it, ``float32[samples]``: what is spoken in it.

    Raises:
        AudioFileError: the file cannot be read.
    """
    return spoken(read_audio(path))


def _whole(recording: Path | Waveform, recognizer: Recognizer, household: Household) -> Iterator[Found]:
    path = recording if isinstance(recording, Path) else None

    def encode(samples: Waveform) -> Encoding:
        (encoding,) = recognizer.encode([samples], household.wants_voiceprints)
        return encoding

    try:
        whole = read_whole(_blocks(recording), encode, str(path or SAMPLES_NAME))
    except AudioFileError as error:
        yield Found(path, error)
    else:
        segment = Segment(whole.samples, 0.0, whole.duration_s, whole.duration_s)
        said: list[tuple[StatusReason, str]] = [(note.reason, note.message) for note in whole.notes]
        if not whole.has_voice:
            said.append(("no_speech", "no voice in it"))
        gravest = min((reason for reason, _ in said), key=GRAVEST.index, default=None)
        yield Found(path, segment, gravest, "; ".join(message for _, message in said) or None, whole.earlier)


def _utterances(recording: Path | Waveform, recognizer: Recognizer, settings: Settings) -> Iterator[Found]:
    path = recording if isinstance(recording, Path) else None
    meter, windows, voices = SoundMeter(), list[Window](), 0
    try:
        for block, segments in segmented(_blocks(recording), new_segmenter(recognizer, settings)):
            windows += [] if voices else meter.windows(block)
            for segment in segments:
                voices += 1
                yield Found(path, segment)
            yield from (Found(path, None, note.reason, note.message) for note in block.notes)
    except AudioFileError as error:
        yield Found(path, error)
    else:
        if not voices:
            why = why_unheard(windows + meter.last(), settings.vad.gate_dbfs)
            yield Found(path, None, "no_speech", f"no utterance: {why}")


def _blocks(recording: Path | Waveform) -> Iterable[Block]:
    if isinstance(recording, Path):
        return FileSource(recording).blocks()
    return (Block(recording[start : start + READ_SAMPLES], 0.0) for start in range(0, len(recording), READ_SAMPLES))


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
        whole = whole_file and _whole(recording, recognizer, household)
        for found in whole or _utterances(recording, recognizer, settings):
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
            yield replace(found, content=silent, earlier=()), joined([*found.earlier, next(encodings)])
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
        heard = [recognition for _, recognition in _recognized(encoded, Conversation(household, room)) if recognition]
        said = [recognition for recognition in heard if recognition.teaches]
        room = Room.of(
            population,
            settings,
            [recognition.without_person for recognition in said],
            [recognition.probabilities for recognition in said],
        )
    return room
