"""The runtime: a thread listens to each source, the caller's thread recognises, and a bounded queue stands between."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from queue import SimpleQueue

import numpy as np

from edge.answers import Answers
from edge.calibration import CalibratedModel
from edge.capture import Source
from edge.debug_audio import DebugAudio
from edge.event import EARLY, Event, status
from edge.hearing import Hearing
from edge.memory import give_back
from edge.meter import Meter
from edge.outputs import Output, Outputs
from edge.recognizer import Recognizer
from edge.settings import Settings
from edge.stream import Stream, new_segmenter
from edge.streams import Streams
from edge.summary import Summary
from edge.timing import Observer
from edge.utterances import UtteranceQueue
from edge.workload import Workload

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
        heartbeat: Callable[[], None] = lambda: None,
        debug_audio: DebugAudio | None = None,
        follower: Callable[[Event], None] = lambda event: None,
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
            heartbeat: called by the thread that recognises, between two batches and several times a second.
            debug_audio: writes what is said to files; None, as a rule.
            follower: called with each event before the outputs have it; it must return at once.
        """
        self._settings, self._heartbeat, self._follower = settings, heartbeat, follower
        self._meters: list[Meter] = []
        self._queue = UtteranceQueue(settings.encoder.queue_utterances, settings.encoder.max_batch)
        self.streams = Streams(self._queue, self._ready)
        self._ids, self._numbers = count(1), count(1)
        self.workload = Workload(CalibratedModel(recognizer, settings), self.streams)
        self._answers = Answers(self.workload, self.streams, observers, debug_audio)
        can_wait = all(source.can_wait for source in sources)
        self.outputs = Outputs(outputs, can_wait, self._report, meters=self._meters)
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        for source, people, wait_s in zip(
            sources,
            bound_to or [()] * len(sources),
            report_s or [settings.capture.report_s] * len(sources),
            strict=True,
        ):
            self.add(self.new_stream(source, people, wait_s, settings, self.workload.model))

    def run(self) -> Summary:
        """Load who is enrolled, load and warm the model, then listen until all sources end or ``stop`` is called.

        Raises:
            StoreError: the speaker store cannot be read.
            ModelError: the model does not load.
            AudioFileError, AudioDeviceError: a source failed, and the others ended; their events are out by then.
            OutputError, BrokenPipeError: no output is left that works.
        """
        self.workload.model.load()
        with self.outputs, self._listening():
            for items in self._queue:
                for event in self._answers.to(items):
                    self._write(event)
                self._retire()
                self._heartbeat()
                while not self._calls.empty():
                    self._calls.get()()
            self._retire()
        self.outputs.check()
        return self.summary()

    def stop(self) -> None:
        """Make ``run`` finish what was said so far and return; callable from a signal handler or any thread.

        No output is waited for any longer, whatever the sources can: one that is stuck loses what it has not written.
        """
        self.outputs.stop_waiting()
        self.streams.close()

    def call(self, action: Callable[[], None]) -> None:
        """Let the thread that recognises do something between two batches; from any thread."""
        self._calls.put(action)

    def say(self, event: Event) -> None:
        """Write an event of the caller's own, ahead of what waits for the encoder; from any thread."""
        self._queue.put(event)

    def reset_room(self, source: str) -> list[str]:
        """Forget the rooms of the sources of that name soon, and return their names; from any thread.

        Raises:
            UsageError: there is no such source.
        """
        streams = self.streams.named(source)
        for stream in streams:
            self.call(partial(self.workload.model.reset_room, stream))
        return [stream.name for stream in streams]

    def new_stream(
        self, source: Source, people: tuple[str, ...], report_s: float, settings: Settings, model: CalibratedModel
    ) -> Stream:
        """Return a stream that ``add`` takes up, for a model that may not answer yet; from any thread."""
        segmenter = new_segmenter(model.recognizer, settings)
        hearing = Hearing(report_s, settings.vad.gate_dbfs) if report_s else None
        return Stream(source, segmenter, people, self._ids, hearing)

    def add(self, stream: Stream) -> None:
        """Take up a stream, which is listened to from ``streams.start`` on; for the thread that recognises.

        Raises:
            StoreError: the model is loaded, and the source is bound to somebody who is not enrolled.
        """
        self.workload.add(stream)
        self.streams.add(stream)
        self._meters.append(stream.meter)

    def use(self, model: CalibratedModel) -> None:
        """Recognise with another model, which is loaded, under its settings; for the thread that recognises."""
        before, settings = self._settings, model.settings
        is_cut_anew = any(
            getattr(before, section) != getattr(settings, section) for section in ("vad", "segmenter", "partials")
        )
        if is_cut_anew or model.recognizer.buckets.longest != self.workload.model.recognizer.buckets.longest:
            for stream in self.streams:
                stream.segment_with(new_segmenter(model.recognizer, settings))
        self._settings = settings
        self.workload.use(model)
        give_back()
        self._queue.max_utterances = settings.encoder.queue_utterances
        self._queue.max_batch = settings.encoder.max_batch

    def _write(self, event: Event) -> None:
        if self._settings.events.early or event.type not in EARLY:
            event = replace(event, number=next(self._numbers))
            self._follower(event)
            self.streams.answer(event)
            self.outputs.write(event)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        self.streams.start()
        try:
            yield
        finally:
            self.streams.close()
            self._queue.close()
            self.workload.save()

    def _retire(self) -> None:
        """Let go of the streams of which nothing more comes, and say so; what failed has said so."""
        for stream in self.streams.retire():
            if stream.is_mute and stream.is_recorded and not stream.has_failed:
                message = f"{stream.name}: no utterance in {stream.audio_s:.1f} s of audio"
                self._write(status(stream.name, "no_speech", message))
            if not stream.has_failed:
                self._write(status(stream.name, "stopped", "stopped"))
            self.workload.remove(stream)
            self._meters.remove(stream.meter)

    def _report(self, trouble: str) -> None:
        """Report trouble with an output, also to the others; called from any thread."""
        if self.outputs.works:
            logger.warning("%s", trouble)
        self._queue.put(status(", ".join(stream.name for stream in self.streams), "output_trouble", trouble))

    def _ready(self, stream: Stream) -> str:
        model = self.workload.model
        manifest, provider = model.recognizer.bundle.manifest, model.recognizer.encoder.provider
        return f"ready: bundle {manifest.name} {manifest.version} on {provider}; {model.of(stream).household}"

    @property
    def waiting(self) -> int:
        """Utterances that wait for the encoder now; from any thread."""
        return len(self._queue)

    def summary(self) -> Summary:
        """Return what it has come to so far; from any thread."""
        latencies_ms = list(self._answers.latencies_ms)
        (p50_ms, provisional_ms), (p95_ms, _) = (
            np.percentile(latencies_ms, (50, 95), axis=0).tolist() if latencies_ms else [(None, None)] * 2
        )
        return Summary(
            utterances=self._answers.utterances,
            skipped=self._answers.skipped,
            audio_s=self.streams.audio_s,
            dropped_s=self.streams.lost_s,
            total_p50_ms=p50_ms,
            total_p95_ms=p95_ms,
            provisional_p50_ms=provisional_ms,
            lost_events=self.outputs.lost,
        )
