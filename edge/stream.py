"""One source on its way to the encoder: its clock, its segmenter, and whether it is paused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

from edge.audio import SAMPLE_RATE_HZ
from edge.capture import Block, Source, device_of, is_recording, replying_of, rest_of
from edge.event import Event, status
from edge.hearing import Hearing
from edge.meter import Meter
from edge.recognizer import Recognizer
from edge.segment import Segment, Step, StepKind
from edge.segmenter import Segmenter
from edge.settings import Settings

REST_S = 0.12
"""In silence audio is looked at in pieces of this length, and not of 30 ms. Who begins to speak is heard from their
first sound on all the same; `speech_start` comes so much later at most."""


@dataclass(frozen=True, eq=False)
class Utterance:
    """An utterance at one of its steps, on its way to the encoder and the events."""

    stream: Stream
    source: str
    """The stream's name at that time: a microphone gets its name when it opens."""
    id: int
    step: StepKind
    segment: Segment
    capture_ms: float
    """From the sample that decided the step to its arrival in the queue."""
    queued_at_s: float
    """``time.monotonic()`` of that arrival."""
    audio_s: float
    """Audio since the utterance before this one."""
    vad_ms: float
    """Time to find the utterance in it."""

    @property
    def is_encoded(self) -> bool:
        """The step is one for the encoder."""
        return self.step in ("partial", "provisional")


class Stream:
    """All that belongs to one source. The constructor is cheap; ``utterances`` opens the source."""

    def __init__(
        self,
        source: Source,
        segmenter: Segmenter,
        people: tuple[str, ...] = (),
        ids: Iterator[int] | None = None,
        hearing: Hearing | None = None,
    ) -> None:
        """Prepare.

        Args:
            source: not open yet.
            segmenter: that has heard nothing.
            people: enrolled people whom the source is bound to; empty is as the settings say.
            ids: of the utterances, from 1 on unless streams share them.
            hearing: reports what is wrong with the sound.
        """
        self.people = people
        """Enrolled people whom the source is bound to, for a model that takes the stream up."""
        self.is_recorded = is_recording(source)
        self.lost_s = self.paused_s = 0.0
        """Audio that was lost, and time in which nobody listened, or nobody sent anything, so far."""
        self.is_paused = self.has_failed = self.is_gone = False
        """It is not wanted, it ended by an error, its device or client is waited for."""
        self.source = source
        self._replying, self._rest = replying_of(source), rest_of(source)
        self._segmenter, self._samples = segmenter, 0
        self._next_segmenter: Segmenter | None = None
        self._captured_at_s = 0.0
        self._segmented_s = self._vad_ms = 0.0
        self._ids, self._id = ids or count(1), 0
        self._hearing, self.meter = hearing, Meter()
        self._news: list[Event] = []

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    @property
    def has_begun(self) -> bool:
        """Its audio arrives, or it is known why not. What is no device begins when somebody sends something."""
        return self.state != "waiting" or device_of(self.source) is None

    @property
    def state(self) -> str:
        """What it does, in a word."""
        if self.is_paused:
            return "paused"
        if self.is_gone:
            return "disconnected"
        return "listening" if self._samples else "waiting"

    @property
    def is_mute(self) -> bool:
        """No utterance has begun so far."""
        return not self._id

    @property
    def audio_s(self) -> float:
        """Audio that arrived so far, however it was cut into blocks."""
        return self._samples / SAMPLE_RATE_HZ

    @property
    def can_wait(self) -> bool:
        """See ``Source``."""
        return self.source.can_wait

    def utterances(self) -> Iterator[list[Utterance]]:
        """Yield what became of utterances in each block of the source, so an empty list as long as there is none.

        Look at ``news`` after each.

        Raises:
            AudioFileError, AudioDeviceError: the source failed; the utterance that this cut off is yielded before.
        """
        failure: Exception | None = None
        try:
            for block in self.source.blocks():
                for note in block.notes:
                    self.is_gone = note.reason == "disconnected" or (self.is_gone and note.reason != "connected")
                    self._news.append(status(self.name, note.reason, f"{self.name}: {note.message}"))
                yield [self._utterance(step) for step in self._steps(self._wanted(block))]
                if self._rest:
                    may_rest = self._segmenter.is_idle and not self._segmenter.hears_voice
                    self._rest.s = REST_S if may_rest else 0.0
        except Exception as error:
            failure = error
        if cut_off := self._segmenter.last_steps():
            yield [self._utterance(step) for step in cut_off]
        if failure:
            raise failure

    def news(self) -> list[Event]:
        """Return what there is to say about the source since the last call; for the thread that listens."""
        news, self._news = self._news, []
        return news

    def answer(self, event: Event) -> None:
        """Let those who speak have what became of an utterance, where the source replies; returns at once."""
        if self._replying and event.type in ("utterance", "skipped"):
            self._replying.answered(event)

    def close(self) -> None:
        """Make ``utterances`` end soon, with what was being said; callable from any thread and more than once."""
        self.source.close()

    def pause(self) -> None:
        """Hear nothing until ``go_on``: what was being said ends, and a device is closed; callable from any thread."""
        self.is_paused = True
        if device := device_of(self.source):
            device.pause()

    def go_on(self) -> None:
        """Listen again."""
        self.is_paused = False
        if device := device_of(self.source):
            device.go_on()

    def report_with(self, hearing: Hearing | None) -> None:
        """Let another one report what is wrong with the sound; callable from any thread."""
        self._hearing = hearing

    def segment_with(self, segmenter: Segmenter) -> None:
        """Take another segmenter, as for other settings, once nobody speaks; callable from any thread."""
        self._next_segmenter = segmenter

    def _wanted(self, block: Block) -> Block:
        """Return a block as it is, or in a pause its time alone."""
        if not self.is_paused:
            return block
        paused_s = block.paused_s + block.lost_s + len(block.samples) / SAMPLE_RATE_HZ
        return replace(block, samples=block.samples[:0], arrived=None, lost_s=0.0, paused_s=paused_s, restarted=True)

    def _steps(self, block: Block) -> list[Step]:
        """Take a block, and return what became of utterances in it."""
        self.lost_s += block.lost_s
        self.paused_s += block.paused_s
        self._samples += len(block.samples)
        self._captured_at_s = block.captured_at_s
        for finding in self._hearing.follow(block) if self._hearing else ():
            self._news.append(status(self.name, finding.reason, f"{self.name}: {finding.message}"))
        started_s = time.perf_counter()
        if self._next_segmenter and self._segmenter.is_idle:
            self._next_segmenter.continue_from(self._segmenter)
            self._segmenter, self._next_segmenter = self._next_segmenter, None
        steps = self._segmenter.steps(block.samples, block.lost_s, block.restarted, block.paused_s)
        self._vad_ms += (time.perf_counter() - started_s) * 1e3
        self.meter.name, self.meter.too_short = self.name, self._segmenter.too_short
        self.meter.follow(block.samples, self._segmenter.hears_voice)
        return steps

    def _utterance(self, step: Step) -> Utterance:
        now_s = time.monotonic()
        rest_of_block_s = self.audio_s + self.lost_s + self.paused_s - step.segment.decided_s
        capture_ms = (rest_of_block_s + now_s - self._captured_at_s) * 1e3
        if step.kind == "started":
            self._id = next(self._ids)
        if self._replying and step.kind in ("started", "ended"):
            voice_s = step.segment.start_s if step.kind == "started" else step.segment.end_s
            self._replying.spoken(self._id, step.kind, self.audio_s + self.lost_s + self.paused_s - voice_s)
        audio_s, vad_ms = self.audio_s - self._segmented_s, self._vad_ms
        if step.kind == "ended":
            self._segmented_s, self._vad_ms = self.audio_s, 0.0
        return Utterance(self, self.name, self._id, step.kind, step.segment, capture_ms, now_s, audio_s, vad_ms)


def new_segmenter(recognizer: Recognizer, settings: Settings) -> Segmenter:
    """Return a segmenter whose utterances fit into the recogniser's longest bucket."""
    max_s = min(settings.segmenter.max_s, recognizer.buckets.longest / SAMPLE_RATE_HZ)
    return Segmenter(settings.vad, settings.segmenter.model_copy(update={"max_s": max_s}), settings.partials)
