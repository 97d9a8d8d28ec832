"""The runtime: a thread listens to each source, the caller's thread recognises, and a bounded queue stands between."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, repeat

import numpy as np

from edge.answers import Answers
from edge.capture import Source, is_recording
from edge.event import EARLY, Event, status, wall_clock
from edge.hearing import Hearing
from edge.meter import Meter
from edge.outputs import Output, Outputs, can_refresh
from edge.people.households import Households
from edge.recognizer import Recognizer
from edge.settings import Settings
from edge.stream import Stream, new_segmenter
from edge.stream_room import StreamRoom
from edge.summary import Summary
from edge.timing import Observer
from edge.utterances import UtteranceQueue

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
        report_s: Sequence[float] = (),
    ) -> None:
        """Prepare.

        Args:
            sources: where audio comes from, at least one; each is a conversation of its own.
            recognizer: loaded or not.
            outputs: where events go. While all sources can wait, so can the outputs, and nothing is lost.
            settings: for voice activity, segments, people and decisions; ``capture`` is the sources' own, but for
                ``report_s``.
            observers: called with the timing of each utterance.
            bound_to: for each source the enrolled people who speak there, empty as ``settings.speakers.only`` says;
                without any, that holds for all.
            report_s: for each source ``capture.report_s``; without any, that holds for all.
        """
        self._recognizer, self._settings = recognizer, settings
        ids = count(1)
        self._recorded = [is_recording(source) for source in sources]
        self._households = Households(recognizer.bundle, settings.speakers)
        meters = [Meter() for _ in sources] if any(map(can_refresh, outputs)) else []
        self._streams = [
            Stream(
                source,
                new_segmenter(recognizer, settings),
                self._households.bound_to(names),
                StreamRoom(recognizer.bundle, settings, is_recording(source)) if settings.room.enabled else None,
                ids,
                Hearing(wait_s, settings.vad.gate_dbfs) if wait_s else None,
                meter,
            )
            for source, names, wait_s, meter in zip(
                sources,
                bound_to or [()] * len(sources),
                report_s or [settings.capture.report_s] * len(sources),
                meters or repeat(None, len(sources)),
                strict=True,
            )
        ]
        self._queue = UtteranceQueue(settings.encoder.queue_utterances, settings.encoder.max_batch)
        self._outputs = Outputs(outputs, all(source.can_wait for source in sources), self._report, meters=meters)
        self._answers = Answers(recognizer, self._households, self._streams, settings, observers)
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
        self._recognizer.load(self._households.wants_voiceprints)
        with self._outputs, self._listening_threads():
            for items in self._queue:
                for event in self._answers.to(items):
                    self._write(event)
            for stream, is_recorded in zip(self._streams, self._recorded, strict=True):
                if stream.is_mute and is_recorded:
                    message = f"{stream.name}: no utterance in {stream.audio_s:.1f} s of audio"
                    self._write(status(stream.name, "no_speech", message))
                self._write(status(stream.name, "stopped", "stopped"))
        self._outputs.check()
        return self._summary()

    def _write(self, event: Event) -> None:
        if self._settings.events.early or event.type not in EARLY:
            self._outputs.write(event)

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
                if not ready and stream.audio_s:
                    self._queue.put(status(stream.name, "ready", self._ready(stream)))
                    ready = True
                for news in stream.news():
                    self._queue.put(news)
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

    def _report(self, trouble: str) -> None:
        """Report trouble with an output, also to the others; called from any thread."""
        if self._outputs.works:
            logger.warning("%s", trouble)
        self._queue.put(status(", ".join(stream.name for stream in self._streams), "output_trouble", trouble))

    def _ready(self, stream: Stream) -> str:
        manifest, provider = self._recognizer.bundle.manifest, self._recognizer.encoder.provider
        return f"ready: bundle {manifest.name} {manifest.version} on {provider}; {stream.household}"

    def _summary(self) -> Summary:
        latencies_ms = self._answers.latencies_ms
        (p50_ms, provisional_ms), (p95_ms, _) = (
            np.percentile(latencies_ms, (50, 95), axis=0).tolist() if latencies_ms else [(None, None)] * 2
        )
        return Summary(
            utterances=self._answers.utterances,
            skipped=self._answers.skipped,
            audio_s=sum(stream.audio_s for stream in self._streams),
            dropped_s=sum(stream.lost_s for stream in self._streams),
            total_p50_ms=p50_ms,
            total_p95_ms=p95_ms,
            provisional_p50_ms=provisional_ms,
            lost_events=self._outputs.lost,
        )
