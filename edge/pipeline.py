"""The runtime loop: a thread listens, the caller's thread recognises, a bounded queue of utterances stands between."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge.audio import SAMPLE_RATE_HZ
from edge.capture import Source
from edge.event import Event, wall_clock
from edge.output import Output
from edge.recognizer import Recognition, Recognizer
from edge.segmenter import Segment, Segmenter
from edge.settings import Settings

SUMMARY_UTTERANCES = 1_000


@dataclass(frozen=True)
class Utterance:
    """A segment on its way to the encoder."""

    source: str
    segment: Segment
    capture_ms: float
    """From the sample that decided the segment to its arrival in the queue."""
    queued_at_s: float
    """``time.monotonic()`` of that arrival."""


@dataclass(frozen=True)
class Summary:
    """What one run came to."""

    utterances: int
    skipped: int
    audio_s: float
    dropped_s: float
    total_p50_ms: float | None
    """Median time from the end of speech to the event, over the latest 1,000 utterances; None without any."""
    total_p95_ms: float | None

    def __str__(self) -> str:
        text = f"{self.utterances} utterances in {self.audio_s:.1f} s of audio"
        if self.skipped or self.dropped_s:
            text += f", {self.skipped} skipped, {self.dropped_s:.1f} s lost"
        if self.total_p50_ms is None:
            return text
        return f"{text}, latency from end of speech p50 {self.total_p50_ms:.0f} ms, p95 {self.total_p95_ms:.0f} ms"


class UtteranceQueue:
    """Hand-over from the listening thread. Iterating waits for what is next and ends after ``close``.

    What is next is an event, or all utterances that wait, up to ``max_batch``, oldest first. When the queue is full,
    ``put`` drops the oldest utterance, whose ``skipped`` event comes out instead; with ``wait`` it waits for room.
    """

    def __init__(self, max_utterances: int, max_batch: int, wait: bool) -> None:
        self._max_utterances, self._max_batch, self._wait = max_utterances, max_batch, wait
        self._waiting: deque[Utterance] = deque()
        self._events: deque[Event] = deque()
        self._closed = False
        self._error: Exception | None = None
        self._changed = threading.Condition()

    def put(self, item: Utterance | Event) -> None:
        """Add an utterance, or an event, which overtakes the utterances; after ``close`` nothing happens."""
        with self._changed:
            if isinstance(item, Event):
                self._events.append(item)
            else:
                if self._wait:
                    self._changed.wait_for(lambda: self._closed or len(self._waiting) < self._max_utterances)
                elif len(self._waiting) == self._max_utterances:
                    self._events.append(_skipped_event(self._waiting.popleft(), self._max_utterances))
                self._waiting.append(item)
            self._changed.notify_all()

    def close(self, error: Exception | None = None) -> None:
        """End the iteration once it is empty, by raising ``error`` if given."""
        with self._changed:
            self._closed, self._error = True, self._error or error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[list[Utterance] | Event]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._waiting or self._closed)
                item: list[Utterance] | Event
                if self._events:
                    item = self._events.popleft()
                elif self._waiting:
                    item = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
                elif self._error:
                    raise self._error
                else:
                    return
                self._changed.notify_all()
            yield item


class Pipeline:
    """From a source to an output. The constructor is cheap; ``run`` does everything."""

    def __init__(self, source: Source, recognizer: Recognizer, output: Output, settings: Settings) -> None:
        self._source, self._recognizer, self._output, self._settings = source, recognizer, output, settings
        # What cannot wait is dropped; a file that is read as fast as possible can.
        can_wait = settings.capture.source != "mic" and not settings.capture.realtime
        self._queue = UtteranceQueue(settings.encoder.queue_utterances, settings.encoder.max_batch, can_wait)
        self._utterances = self._skipped = 0
        self._totals_ms: deque[float] = deque(maxlen=SUMMARY_UTTERANCES)
        self._arrived_s = self._lost_s = 0.0

    def run(self) -> Summary:
        """Load and warm the model, then listen until the source ends or ``stop`` is called.

        Raises:
            ModelError: the model does not load.
            AudioFileError, AudioDeviceError: the source failed; what was heard before is out by then.
        """
        self._recognizer.load()
        threading.Thread(target=self._listen, name="listening", daemon=True).start()
        try:
            for item in self._queue:
                if isinstance(item, Event):
                    self._skipped += item.type == "skipped"
                    self._output.write(item)
                else:
                    self._recognize(item)
        finally:
            self._source.close()
            self._queue.close()
        self._output.write(self._status("stopped"))
        return self._summary()

    def stop(self) -> None:
        """Make ``run`` finish what was heard so far and return; callable from a signal handler or any thread."""
        self._source.close()

    def _listen(self) -> None:
        try:
            self._segment()
        except Exception as error:  # whatever ends the listening is the caller's to know
            self._queue.close(error)
        self._queue.close()

    def _segment(self) -> None:
        segmenter = new_segmenter(self._recognizer, self._settings)
        captured_at_s = 0.0
        ready = False
        try:
            for block in self._source.blocks():
                if not ready:
                    manifest, provider = self._recognizer.bundle.manifest, self._recognizer.encoder.provider
                    self._queue.put(self._status(f"ready: bundle {manifest.name} {manifest.version} on {provider}"))
                    ready = True
                self._lost_s += block.lost_s
                self._arrived_s += len(block.samples) / SAMPLE_RATE_HZ
                captured_at_s = block.captured_at_s
                for segment in segmenter.push(block.samples, block.lost_s, block.restarted):
                    self._enqueue(segment, captured_at_s)
        finally:
            for segment in segmenter.flush():
                self._enqueue(segment, captured_at_s)

    def _enqueue(self, segment: Segment, captured_at_s: float) -> None:
        now_s = time.monotonic()
        rest_of_block_s = self._arrived_s + self._lost_s - segment.decided_s
        capture_ms = (rest_of_block_s + now_s - captured_at_s) * 1e3
        self._queue.put(Utterance(self._source.name, segment, capture_ms, now_s))

    def _recognize(self, utterances: list[Utterance]) -> None:
        """Recognise what waits, each length bucket as one batch, and say it in the order of the source."""
        recognitions = self._recognizer.recognize([utterance.segment.samples for utterance in utterances])
        for utterance, recognition in zip(utterances, recognitions, strict=True):
            segment = utterance.segment
            waited_ms = (time.monotonic() - utterance.queued_at_s) * 1e3
            latency_ms = {
                "endpoint": (segment.decided_s - segment.end_s) * 1e3,
                "capture": utterance.capture_ms,
                "queue": waited_ms - recognition.encoder_ms - recognition.head_ms,
                "encoder": recognition.encoder_ms,
                "head": recognition.head_ms,
            }
            latency_ms["total"] = sum(latency_ms.values())
            self._utterances += 1
            self._totals_ms.append(latency_ms["total"])
            self._output.write(utterance_event(utterance.source, segment, recognition, latency_ms, self._settings))

    def _status(self, message: str) -> Event:
        return Event("status", self._source.name, wall_clock(), message=message)

    def _summary(self) -> Summary:
        p50_ms, p95_ms = np.percentile(self._totals_ms, (50, 95)).tolist() if self._totals_ms else (None, None)
        return Summary(self._utterances, self._skipped, self._arrived_s, self._lost_s, p50_ms, p95_ms)


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
        needs_review=recognition.confidence < settings.decision.review_threshold,
        bucket_s=recognition.bucket_s,
        latency_ms=latency_ms,
        truncated=segment.truncated,
        dropped_s=segment.dropped_s,
    )


def _skipped_event(utterance: Utterance, waiting: int) -> Event:
    segment = utterance.segment
    return Event(
        "skipped",
        utterance.source,
        wall_clock(),
        start_s=segment.start_s,
        end_s=segment.end_s,
        dropped_s=segment.dropped_s,
        message=f"the encoder is too slow: {waiting} newer utterances were waiting",
    )
