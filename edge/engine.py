"""The runtime: a thread listens to each source, the caller's thread recognises, and a bounded queue stands between."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from edge.capture import Source, is_recording
from edge.errors import AffectdError
from edge.event import Event, wall_clock
from edge.outputs import Output, Outputs
from edge.people.conversation import Recognition
from edge.people.household import Household
from edge.people.households import Households
from edge.people.refine import Refiner
from edge.recognizer import Encoding, Recognizer
from edge.settings import Settings
from edge.stream import Stream, Utterance, new_segmenter, utterance_event
from edge.stream_room import StreamRoom
from edge.summary import Summary
from edge.timing import Observer, Timing
from edge.utterances import UtteranceQueue

SUMMARY_UTTERANCES = 1_000

logger = logging.getLogger(__name__)


class Engine:
    """From any number of sources to any number of outputs. The constructor is cheap; ``run`` does everything, once.

    Encoders, people, the queue and the outputs are shared; what belongs to one source is its ``Stream``.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        recognizer: Recognizer,
        outputs: Sequence[Output],
        settings: Settings,
        observers: Sequence[Observer] = (),
        bound_to: Sequence[tuple[str, ...]] = (),
    ) -> None:
        """Prepare.

        Args:
            sources: where audio comes from, at least one; each is a conversation of its own.
            recognizer: loaded or not.
            outputs: where events go. While all sources can wait, so can the outputs, and nothing is lost.
            settings: for voice activity, segments, people and decisions; ``capture`` is the sources' own.
            observers: called with the timing of each utterance.
            bound_to: for each source the enrolled people who speak there, empty as ``settings.speakers.only`` says;
                without any, that holds for all.
        """
        self._recognizer, self._settings = recognizer, settings
        self._households = Households(recognizer.bundle, settings.speakers)
        self._streams = [
            Stream(
                source,
                new_segmenter(recognizer, settings),
                self._households.bound_to(names),
                StreamRoom(recognizer.bundle, settings, is_recording(source)) if settings.room.enabled else None,
            )
            for source, names in zip(sources, bound_to or [()] * len(sources), strict=True)
        ]
        self._queue = UtteranceQueue(settings.encoder.queue_utterances, settings.encoder.max_batch)
        self._outputs = Outputs(outputs, all(source.can_wait for source in sources), self._report)
        self._observers = list(observers)
        self._refiners = {stream.household: Refiner(stream.household) for stream in self._streams}
        self._news: dict[Household, str] = {}
        """What was said last about the people."""
        self._utterances = self._skipped = 0
        self._totals_ms: deque[float] = deque(maxlen=SUMMARY_UTTERANCES)
        self._listening = len(self._streams)
        self._failure: BaseException | None = None
        """Of the first source that failed."""
        self._lock = threading.Lock()

    def run(self) -> Summary:
        """Load who is enrolled, load and warm the model, then listen until all sources end or ``stop`` is called.

        Raises:
            StoreError: the speaker store cannot be read.
            ModelError: the model does not load.
            AudioFileError, AudioDeviceError: a source failed, and the others ended; their events are out by then.
            OutputError, BrokenPipeError: no output is left that works.
        """
        self._households.load()
        self._news = {household: str(household) for household in self._refiners}
        self._recognizer.load(self._households.wants_voiceprints)
        with self._outputs, self._listening_threads():
            for item in self._queue:
                if isinstance(item, Event):
                    self._skipped += item.type == "skipped"
                    self._outputs.write(item)
                else:
                    self._recognize(item)
            for stream in self._streams:
                self._outputs.write(_status(stream.name, "stopped"))
        self._outputs.check()
        return self._summary()

    def stop(self) -> None:
        """Make ``run`` finish what was said so far and return; callable from a signal handler or any thread.

        No output is waited for any longer, whatever the sources can: one that is stuck loses what it has not written.
        """
        self._outputs.stop_waiting()
        self._close_sources()

    def _close_sources(self) -> None:
        for stream in self._streams:
            stream.close()

    @contextmanager
    def _listening_threads(self) -> Iterator[None]:
        for stream in self._streams:
            threading.Thread(target=self._listen, args=(stream,), name="listening", daemon=True).start()
        try:
            yield
        finally:
            self._close_sources()
            self._queue.close()
            for stream in self._streams:
                if stream.room:
                    stream.room.save()

    def _listen(self, stream: Stream) -> None:
        failure: BaseException | None = None
        try:
            ready = False
            for utterances in stream.utterances():
                if not ready:
                    self._queue.put(_status(stream.name, self._ready(stream)))
                    ready = True
                for utterance in utterances:
                    self._queue.put(utterance)
        except BaseException as error:  # SystemExit too: whatever ends the listening is the caller's to know
            failure = error
        with self._lock:
            self._listening -= 1
            self._failure = self._failure or failure
            if not self._listening:
                self._queue.close(self._failure)
            elif failure:
                self._queue.put(Event("error", stream.name, wall_clock(), message=str(failure)))

    def _recognize(self, utterances: list[Utterance]) -> None:
        """Recognise what waits, each length bucket as one batch, and report it in the order of arrival."""
        for stream in dict.fromkeys(utterance.stream for utterance in utterances):
            self._refresh(stream)
        waveforms = [utterance.segment.samples for utterance in utterances]
        encodings = self._recognizer.encode(waveforms, self._households.wants_voiceprints)
        for utterance, encoding in zip(utterances, encodings, strict=True):
            segment = utterance.segment
            recognition = utterance.stream.recognize(utterance, encoding)
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
            if news := utterance.stream.follow_room(recognition):
                self._outputs.write(_status(utterance.source, news))
            self._refine(utterance.stream, recognition)

    def _timing(
        self, utterance: Utterance, encoding: Encoding, latency_ms: dict[str, float], ready_at_s: float, together: int
    ) -> Timing:
        published_at_s = time.monotonic()
        stage_ms = latency_ms | {"vad": utterance.vad_ms, "publish": (published_at_s - ready_at_s) * 1e3}
        return Timing(
            speech_s=encoding.duration_s,
            audio_s=utterance.audio_s,
            bucket_s=encoding.bucket_s,
            together=together,
            published_at_s=published_at_s,
            stage_ms=stage_ms,
            total_ms=stage_ms.pop("total"),
            skipped=self._skipped,
            lost_s=self._lost_s,
        )

    def _observe(self, timing: Timing) -> None:
        """Call the observers; one that fails is dropped, since it must not end the run."""
        for observer in list(self._observers):
            try:
                observer(timing)
            except Exception:
                logger.warning("%r fails, and observes no more", observer, exc_info=True)
                self._observers.remove(observer)

    def _refresh(self, stream: Stream) -> None:
        """Follow changes of the speaker store; trouble with it stops nothing."""
        try:
            if stream.household.refresh():
                self._report_people(stream, str(stream.household))
        except AffectdError as error:
            self._report_people(stream, f"the speakers stay as they were: {error}")
        if stream.room:
            stream.room.follow_people(stream.household.everyone)

    def _refine(self, stream: Stream, recognition: Recognition) -> None:
        if recognition.speaker is None or recognition.moved or not self._settings.speakers.refine:
            return
        speaker = recognition.speaker
        try:
            if self._refiners[stream.household].collect(speaker.name, speaker.score, recognition.encoding.embedding):
                self._report_people(stream, f"the profile of {speaker.name} was refined")
        except AffectdError as error:
            self._report_people(stream, f"the profile of {speaker.name} stays as it was: {error}")

    def _report_people(self, stream: Stream, news: str) -> None:
        if news != self._news[stream.household]:
            self._news[stream.household] = news
            self._outputs.write(_status(stream.name, news))

    def _report(self, trouble: str) -> None:
        """Report trouble with an output, also to the others; called from any thread."""
        if self._outputs.works:
            logger.warning("%s", trouble)
        self._queue.put(_status(", ".join(stream.name for stream in self._streams), trouble))

    def _ready(self, stream: Stream) -> str:
        manifest, provider = self._recognizer.bundle.manifest, self._recognizer.encoder.provider
        return f"ready: bundle {manifest.name} {manifest.version} on {provider}; {stream.household}"

    @property
    def _lost_s(self) -> float:
        return sum(stream.lost_s for stream in self._streams)

    def _summary(self) -> Summary:
        p50_ms, p95_ms = np.percentile(self._totals_ms, (50, 95)).tolist() if self._totals_ms else (None, None)
        return Summary(
            utterances=self._utterances,
            skipped=self._skipped,
            audio_s=sum(stream.audio_s for stream in self._streams),
            dropped_s=self._lost_s,
            total_p50_ms=p50_ms,
            total_p95_ms=p95_ms,
            lost_events=self._outputs.lost,
        )


def _status(source: str, message: str) -> Event:
    return Event("status", source, wall_clock(), message=message)
