"""One source on its way to the encoder: its clock, its segmenter, and the conversation in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from edge.audio import SAMPLE_RATE_HZ
from edge.capture import Source
from edge.event import Event, wall_clock
from edge.people.conversation import Conversation, Recognition
from edge.people.household import Household
from edge.recognizer import Encoding, Recognizer
from edge.segment import Segment
from edge.segmenter import Segmenter
from edge.settings import Settings
from edge.stream_room import StreamRoom


@dataclass(frozen=True, eq=False)
class Utterance:
    """A segment on its way to the encoder."""

    stream: Stream
    source: str
    """The stream's name at that time: a microphone gets its name when it opens."""
    segment: Segment
    capture_ms: float
    """From the sample that decided the segment to its arrival in the queue."""
    queued_at_s: float
    """``time.monotonic()`` of that arrival."""
    audio_s: float
    """Audio since the segment before this one."""
    vad_ms: float
    """Time to find the segment in it."""


class Stream:
    """All that belongs to one source. The constructor is cheap; ``utterances`` opens the source."""

    def __init__(
        self, source: Source, segmenter: Segmenter, household: Household, room: StreamRoom | None = None
    ) -> None:
        self.household = household
        self.room = room
        """That the source is in, for the thread that recognises; None: none is estimated."""
        self.conversation = Conversation(household)
        """For the thread that recognises."""
        self.audio_s = 0.0
        """Audio that arrived so far."""
        self.lost_s = 0.0
        """Audio that was lost so far."""
        self._source, self._segmenter = source, segmenter
        self._captured_at_s = 0.0
        self._segmented_s = self._vad_ms = 0.0

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    @property
    def can_wait(self) -> bool:
        """See ``Source``."""
        return self._source.can_wait

    def utterances(self) -> Iterator[list[Utterance]]:
        """Yield the utterances that ended in each block of the source, so an empty list as long as there is none.

        Raises:
            AudioFileError, AudioDeviceError: the source failed; the utterance that this cut off is yielded before.
        """
        failure: Exception | None = None
        try:
            for block in self._source.blocks():
                self.lost_s += block.lost_s
                self.audio_s += len(block.samples) / SAMPLE_RATE_HZ
                self._captured_at_s = block.captured_at_s
                started_s = time.perf_counter()
                segments = self._segmenter.push(block.samples, block.lost_s, block.restarted)
                self._vad_ms += (time.perf_counter() - started_s) * 1e3
                yield [self._utterance(segment) for segment in segments]
        except Exception as error:
            failure = error
        if cut_off := self._segmenter.flush():
            yield [self._utterance(segment) for segment in cut_off]
        if failure:
            raise failure

    def recognize(self, utterance: Utterance, encoding: Encoding) -> Recognition:
        """Recognise the next utterance by what was known before it; call ``follow_room`` after it was answered."""
        if self.room:
            self.conversation.room = self.room.of(utterance.source)
        segment = utterance.segment
        return self.conversation.recognize(encoding, segment.start_s, segment.end_s)

    def follow_room(self, recognition: Recognition) -> str | None:
        """Learn about the room from an utterance that was answered; return what there is to say about it."""
        return self.room.follow(recognition.without_person, recognition.probabilities) if self.room else None

    def close(self) -> None:
        """Make ``utterances`` end soon, with what was being said; callable from any thread and more than once."""
        self._source.close()

    def _utterance(self, segment: Segment) -> Utterance:
        now_s = time.monotonic()
        rest_of_block_s = self.audio_s + self.lost_s - segment.decided_s
        capture_ms = (rest_of_block_s + now_s - self._captured_at_s) * 1e3
        audio_s, self._segmented_s = self.audio_s - self._segmented_s, self.audio_s
        vad_ms, self._vad_ms = self._vad_ms, 0.0
        return Utterance(self, self.name, segment, capture_ms, now_s, audio_s, vad_ms)


def new_segmenter(recognizer: Recognizer, settings: Settings) -> Segmenter:
    """Return a segmenter whose utterances fit into the recogniser's longest bucket."""
    max_s = min(settings.segmenter.max_s, recognizer.buckets.longest / SAMPLE_RATE_HZ)
    return Segmenter(settings.vad, settings.segmenter.model_copy(update={"max_s": max_s}))


def utterance_event(
    source: str, segment: Segment, recognition: Recognition, latency_ms: dict[str, float], settings: Settings
) -> Event:
    """Return what is said about one utterance."""
    return Event(
        "utterance",
        source,
        wall_clock(),
        start_s=segment.start_s,
        end_s=segment.end_s,
        emotion=recognition.emotion,
        confidence=recognition.confidence,
        scores=recognition.scores,
        speaker=recognition.speaker,
        adapted=recognition.adapted,
        room=recognition.room,
        needs_review=recognition.confidence < settings.decision.review_threshold,
        bucket_s=recognition.encoding.bucket_s,
        provider=recognition.encoding.provider,
        latency_ms=latency_ms,
        truncated=segment.truncated,
        dropped_s=segment.dropped_s,
    )
