"""The runtime loop: a thread listens, the caller's thread recognises, a bounded queue of utterances stands between."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.audio import SAMPLE_RATE_HZ
from edge.capture import Source
from edge.errors import AffectdError
from edge.event import Event, wall_clock
from edge.outputs import Output, Outputs
from edge.people.conversation import Conversation, Recognition
from edge.people.household import Household
from edge.people.refine import Refiner
from edge.recognizer import Encoding, Recognizer
from edge.segmenter import Segment, Segmenter
from edge.settings import Settings
from edge.timing import Observer, Timing
from edge.utterances import Utterance, UtteranceQueue

SUMMARY_UTTERANCES = 1_000


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
    lost_events: Mapping[str, int]
    """Name of an output to the number of events that it was too slow for, or that came after it had failed."""

    def __str__(self) -> str:
        text = f"{self.utterances} utterances in {self.audio_s:.1f} s of audio"
        if self.skipped or self.dropped_s:
            text += f", {self.skipped} skipped, {self.dropped_s:.1f} s lost"
        if self.total_p50_ms is not None:
            text += f", latency from end of speech p50 {self.total_p50_ms:.0f} ms, p95 {self.total_p95_ms:.0f} ms"
        return text + "".join(f", {count} events lost by {name}" for name, count in self.lost_events.items())


class Pipeline:
    """From a source to outputs. The constructor is cheap; ``run`` does everything. ``observe`` learns the timing."""

    def __init__(
        self,
        source: Source,
        recognizer: Recognizer,
        outputs: Sequence[Output],
        settings: Settings,
        observe: Observer = lambda timing: None,
    ) -> None:
        self._source, self._recognizer, self._settings = source, recognizer, settings
        self._outputs = Outputs(outputs, source.can_wait, self._report)
        self._observe = observe
        self._household = Household(recognizer.bundle, settings.speakers)
        self._conversation = Conversation(self._household)
        self._refiner = Refiner(self._household)
        self._news = ""
        self._queue = UtteranceQueue(settings.encoder.queue_utterances, settings.encoder.max_batch, source.can_wait)
        self._utterances = self._skipped = 0
        self._totals_ms: deque[float] = deque(maxlen=SUMMARY_UTTERANCES)
        self._arrived_s = self._lost_s = 0.0
        self._heard_s = self._vad_ms = 0.0

    def run(self) -> Summary:
        """Load who is enrolled, load and warm the model, then listen until the source ends or ``stop`` is called.

        Raises:
            StoreError: the speaker store cannot be read.
            ModelError: the model does not load.
            AudioFileError, AudioDeviceError: the source failed; what was heard before is out by then.
        """
        self._household.load()
        self._news = str(self._household)
        self._recognizer.load(self._household.wants_voiceprints)
        threading.Thread(target=self._listen, name="listening", daemon=True).start()
        with self._outputs:
            try:
                for item in self._queue:
                    if isinstance(item, Event):
                        self._skipped += item.type == "skipped"
                        self._outputs.write(item)
                    else:
                        self._recognize(item)
            finally:
                self._source.close()
                self._queue.close()
            self._outputs.write(self._status("stopped"))
        self._outputs.check()
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
                    self._queue.put(self._status(self._ready()))
                    ready = True
                self._lost_s += block.lost_s
                self._arrived_s += len(block.samples) / SAMPLE_RATE_HZ
                captured_at_s = block.captured_at_s
                started_s = time.perf_counter()
                segments = segmenter.push(block.samples, block.lost_s, block.restarted)
                self._vad_ms += (time.perf_counter() - started_s) * 1e3
                for segment in segments:
                    self._enqueue(segment, captured_at_s)
        finally:
            for segment in segmenter.flush():
                self._enqueue(segment, captured_at_s)

    def _enqueue(self, segment: Segment, captured_at_s: float) -> None:
        now_s = time.monotonic()
        rest_of_block_s = self._arrived_s + self._lost_s - segment.decided_s
        capture_ms = (rest_of_block_s + now_s - captured_at_s) * 1e3
        heard_s, self._heard_s = self._arrived_s - self._heard_s, self._arrived_s
        vad_ms, self._vad_ms = self._vad_ms, 0.0
        self._queue.put(Utterance(self._source.name, segment, capture_ms, now_s, heard_s, vad_ms))

    def _recognize(self, utterances: list[Utterance]) -> None:
        """Recognise what waits, each length bucket as one batch, and say it in the order of the source."""
        self._refresh()
        waveforms = [utterance.segment.samples for utterance in utterances]
        encodings = self._recognizer.encode(waveforms, self._household.wants_voiceprints)
        for utterance, encoding in zip(utterances, encodings, strict=True):
            segment = utterance.segment
            recognition = self._conversation.recognize(encoding, segment.start_s, segment.end_s)
            ready_at_s = time.monotonic()
            waited_ms = (ready_at_s - utterance.queued_at_s) * 1e3
            latency_ms = {
                "endpoint": (segment.decided_s - segment.end_s) * 1e3,
                "capture": utterance.capture_ms,
                "queue": waited_ms - sum(recognition.latency_ms.values()),
                **recognition.latency_ms,
            }
            latency_ms["total"] = sum(latency_ms.values())
            self._utterances += 1
            self._totals_ms.append(latency_ms["total"])
            self._outputs.write(utterance_event(utterance.source, segment, recognition, latency_ms, self._settings))
            self._observe(self._timing(utterance, encoding, latency_ms, ready_at_s, len(utterances)))
            self._refine(recognition)

    def _timing(
        self, utterance: Utterance, encoding: Encoding, latency_ms: dict[str, float], ready_at_s: float, together: int
    ) -> Timing:
        published_at_s = time.monotonic()
        stage_ms = latency_ms | {"vad": utterance.vad_ms, "publish": (published_at_s - ready_at_s) * 1e3}
        return Timing(
            speech_s=encoding.duration_s,
            heard_s=utterance.heard_s,
            bucket_s=encoding.bucket_s,
            together=together,
            published_at_s=published_at_s,
            stage_ms=stage_ms,
            total_ms=stage_ms.pop("total"),
            skipped=self._skipped,
            lost_s=self._lost_s,
        )

    def _refresh(self) -> None:
        """Follow changes of the speaker store; trouble with it stops nothing."""
        try:
            if self._household.refresh():
                self._tell(str(self._household))
        except AffectdError as error:
            self._tell(f"the speakers stay as they were: {error}")

    def _refine(self, recognition: Recognition) -> None:
        if recognition.speaker is None or not self._settings.speakers.refine:
            return
        speaker = recognition.speaker
        try:
            if self._refiner.collect(speaker.name, speaker.score, recognition.encoding.embedding):
                self._tell(f"the profile of {speaker.name} was refined")
        except AffectdError as error:
            self._tell(f"the profile of {speaker.name} stays as it was: {error}")

    def _tell(self, news: str) -> None:
        if news != self._news:
            self._news = news
            self._outputs.write(self._status(news))

    def _report(self, trouble: str) -> None:
        self._queue.put(self._status(trouble))

    def _ready(self) -> str:
        manifest, provider = self._recognizer.bundle.manifest, self._recognizer.encoder.provider
        return f"ready: bundle {manifest.name} {manifest.version} on {provider}; {self._household}"

    def _status(self, message: str) -> Event:
        return Event("status", self._source.name, wall_clock(), message=message)

    def _summary(self) -> Summary:
        p50_ms, p95_ms = np.percentile(self._totals_ms, (50, 95)).tolist() if self._totals_ms else (None, None)
        return Summary(
            self._utterances, self._skipped, self._arrived_s, self._lost_s, p50_ms, p95_ms, self._outputs.lost
        )


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
        needs_review=recognition.confidence < settings.decision.review_threshold,
        bucket_s=recognition.encoding.bucket_s,
        provider=recognition.encoding.provider,
        latency_ms=latency_ms,
        truncated=segment.truncated,
        dropped_s=segment.dropped_s,
    )
