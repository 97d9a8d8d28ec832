"""From what happens to utterances to events: answers, first provisional, and what is learnt from them once final."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edge.calibration import CalibratedModel, Calibration
from edge.debug_audio import DebugAudio
from edge.errors import AffectdError
from edge.event import Event, EventType, StatusReason, status, wall_clock
from edge.people.conversation import Recognition
from edge.people.household import Household
from edge.recognizer import Encoding
from edge.stream import Stream, Utterance
from edge.streams import Streams
from edge.timing import Observer, Timing
from edge.utterance_events import answer_event, skipped_event
from edge.workload import Workload

SUMMARY_UTTERANCES = 1_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Answer:
    """What was said about an utterance that may be over."""

    event: Event
    recognition: Recognition
    calibration: Calibration
    """That it was made with, and that may learn from it."""
    together: int
    """Utterances that were encoded at the same time, itself included."""


class Answers:
    """For the thread that recognises. An answer is computed once, and learnt from only when the utterance is over."""

    def __init__(
        self,
        workload: Workload,
        streams: Streams,
        observers: Sequence[Observer],
        debug_audio: DebugAudio | None = None,
    ) -> None:
        self.utterances = self.skipped = 0
        """How many are over."""
        self.latencies_ms: deque[tuple[float, float]] = deque(maxlen=SUMMARY_UTTERANCES)
        """From the end of speech to the final event and to the answer, of the latest."""
        self._workload, self._streams, self._observers = workload, streams, list(observers)
        self._debug_audio = debug_audio
        self._news: dict[Household, str] = {}
        """What was said last about the people."""
        self._answers: dict[int, _Answer] = {}
        self._revisions: dict[int, int] = {}
        """By the id of an utterance that is not over."""

    def to(self, items: Sequence[Utterance | Event]) -> Iterator[Event]:
        """Encode what waits, each length bucket as one batch, and yield events in the order of arrival.

        An event is out when the next one is asked for.
        """
        if news := self._workload.follow(items):
            yield news
        waiting = [item for item in items if isinstance(item, Utterance) and self._workload.wants(item)]
        model = self._workload.answering
        for stream in dict.fromkeys(utterance.stream for utterance in waiting):
            yield from self._refresh(stream, model)
        waveforms = [self._workload.samples(utterance) for utterance in waiting]
        encoded = model.recognizer.encode(waveforms, model.wants_voiceprints) if waiting else ()
        encodings = dict(zip(waiting, encoded, strict=True))
        for item in items:
            if isinstance(item, Event):
                self.skipped += item.type == "skipped"
                yield self._numbered(item)
            elif item in encodings:
                yield from self._answer(item, encodings[item], model, len(waiting))
            elif item.step == "ended":
                yield from self._end(item)
            elif item.step in ("started", "resumed"):
                withdrawn = self._answers.pop(item.id, None)
                if item.step == "started" or (withdrawn and not withdrawn.recognition.other_voice):
                    yield self._numbered(_mark(item))

    def _answer(
        self, utterance: Utterance, encoding: Encoding, model: CalibratedModel, together: int
    ) -> Iterator[Event]:
        """Say how a part of an utterance sounded, or all of it if they do not go on; of another voice nothing."""
        calibration, settings = model.of(utterance.stream), model.settings
        recognition = calibration.recognize(utterance, encoding)
        waited_ms = (time.monotonic() - utterance.queued_at_s) * 1e3
        latency_ms = {
            "endpoint": _endpoint_ms(utterance),
            "capture": utterance.capture_ms,
            "queue": waited_ms - sum(recognition.latency_ms.values()),
            **recognition.latency_ms,
        }
        latency_ms["total"] = sum(latency_ms.values())
        kind: EventType = "partial" if utterance.step == "partial" else "provisional"
        event = answer_event(kind, utterance.source, utterance.id, utterance.segment, recognition, settings)
        event = replace(event, latency_ms=latency_ms)
        if kind == "provisional":
            self._answers[utterance.id] = _Answer(event, recognition, calibration, together)
        if not recognition.other_voice:
            yield self._numbered(event)

    def _end(self, utterance: Utterance) -> Iterator[Event]:
        """Say the last provisional answer once more, now that it is final, and learn from it."""
        self._workload.finish(utterance)
        if self._debug_audio:
            self._debug_audio.write(utterance)
        answer = self._answers.pop(utterance.id, None)
        if answer is None:
            self.skipped += 1
            message = f"the encoder does not keep up: {self._workload.overload.reduction.message}"
            yield self._numbered(skipped_event(utterance, "too_slow", message))
            return
        ready_at_s = time.monotonic()
        endpoint_ms, provisional_ms = _endpoint_ms(utterance), answer.event.latency_ms["total"]
        latency_ms = answer.event.latency_ms | {"endpoint": endpoint_ms, "capture": utterance.capture_ms}
        latency_ms |= {
            "provisional": provisional_ms,
            "total": endpoint_ms + utterance.capture_ms + (ready_at_s - utterance.queued_at_s) * 1e3,
        }
        if answer.recognition.other_voice:
            self.skipped += 1
            message = f"it is another voice: the source is {answer.calibration.household}"
            yield self._numbered(skipped_event(utterance, "other_voice", message))
        else:
            self.utterances += 1
            self.latencies_ms.append((latency_ms["total"], provisional_ms))
            yield self._numbered(replace(answer.event, type="utterance", time=wall_clock(), latency_ms=latency_ms))
        self._observe(self._timing(utterance, answer, latency_ms, ready_at_s))
        if news := answer.calibration.follow(answer.recognition):
            yield status(utterance.source, "room_changed", news)
        yield from self._refine(utterance.stream, answer)

    def _numbered(self, event: Event) -> Event:
        if event.id is None:
            return event
        revision = self._revisions.pop(event.id, 0)
        if event.type not in ("utterance", "skipped"):
            self._revisions[event.id] = revision + 1
        return replace(event, revision=revision)

    def _timing(self, utterance: Utterance, answer: _Answer, latency_ms: dict[str, float], ready_at_s: float) -> Timing:
        published_at_s = time.monotonic()
        stage_ms = latency_ms | {"vad": utterance.vad_ms, "publish": (published_at_s - ready_at_s) * 1e3}
        encoding = answer.recognition.encoding
        return Timing(
            speech_s=encoding.duration_s,
            audio_s=utterance.audio_s,
            bucket_s=encoding.bucket_s,
            together=answer.together,
            published_at_s=published_at_s,
            stage_ms=stage_ms,
            provisional_ms=stage_ms.pop("provisional"),
            total_ms=stage_ms.pop("total"),
            skipped=self.skipped,
            lost_s=self._streams.lost_s,
        )

    def _observe(self, timing: Timing) -> None:
        """Call the observers; one that fails is dropped, since it must not end the run."""
        for observer in list(self._observers):
            try:
                observer(timing)
            except Exception:
                logger.warning("%r fails, and observes no more", observer, exc_info=True)
                self._observers.remove(observer)

    def _refresh(self, stream: Stream, model: CalibratedModel) -> Iterator[Event]:
        """Follow changes of the speaker store; trouble with it stops nothing."""
        calibration = model.of(stream)
        household = calibration.household
        self._news.setdefault(household, str(household))
        try:
            if household.refresh():
                yield from self._people_news(stream, household, "people_changed", str(household))
        except AffectdError as error:
            news = f"the speakers stay as they were: {error}"
            yield from self._people_news(stream, household, "store_trouble", news)
        if calibration.room:
            calibration.room.follow_people(household.everyone)

    def _refine(self, stream: Stream, answer: _Answer) -> Iterator[Event]:
        recognition, household = answer.recognition, answer.calibration.household
        if recognition.speaker is None or recognition.moved or not recognition.teaches:
            return
        if not household.settings.refine:
            return
        speaker = recognition.speaker
        try:
            if answer.calibration.refiner.collect(speaker.name, speaker.score, recognition.encoding.embedding):
                news = f"the profile of {speaker.name} was refined"
                yield from self._people_news(stream, household, "profile_refined", news)
        except AffectdError as error:
            news = f"the profile of {speaker.name} stays as it was: {error}"
            yield from self._people_news(stream, household, "store_trouble", news)

    def _people_news(self, stream: Stream, household: Household, reason: StatusReason, news: str) -> Iterator[Event]:
        if news != self._news.get(household):
            self._news[household] = news
            yield status(stream.name, reason, news)


def _endpoint_ms(utterance: Utterance) -> float:
    return (utterance.segment.decided_s - utterance.segment.end_s) * 1e3


def _mark(utterance: Utterance) -> Event:
    """Return the event that somebody speaks, or goes on."""
    segment = utterance.segment
    if utterance.step == "started":
        return Event("speech_start", utterance.source, wall_clock(), id=utterance.id, start_s=segment.start_s)
    return Event(
        "resumed", utterance.source, wall_clock(), id=utterance.id, start_s=segment.start_s, end_s=segment.end_s
    )
