"""From what happens to utterances to events: answers, first provisional, and what is learnt from them once final."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edge.errors import AffectdError
from edge.event import Event, EventType, StatusReason, status, wall_clock
from edge.people.conversation import Recognition
from edge.people.household import Household
from edge.people.households import Households
from edge.people.refine import Refiner
from edge.recognizer import Encoding, Recognizer
from edge.settings import Settings
from edge.stream import Stream, Utterance, answer_event, skipped_event
from edge.timing import Observer, Timing

SUMMARY_UTTERANCES = 1_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Answer:
    """What was said about an utterance that may be over."""

    event: Event
    recognition: Recognition
    together: int
    """Utterances that were encoded at the same time, itself included."""


class Answers:
    """For the thread that recognises. An answer is computed once, and learnt from only when the utterance is over."""

    def __init__(
        self,
        recognizer: Recognizer,
        households: Households,
        streams: Sequence[Stream],
        settings: Settings,
        observers: Sequence[Observer],
    ) -> None:
        self.utterances = self.skipped = 0
        """How many are over."""
        self.latencies_ms: deque[tuple[float, float]] = deque(maxlen=SUMMARY_UTTERANCES)
        """From the end of speech to the final event and to the answer, of the latest."""
        self._recognizer, self._households, self._settings = recognizer, households, settings
        self._streams, self._observers = streams, list(observers)
        self._refiners = {stream.household: Refiner(stream.household) for stream in streams}
        self._news: dict[Household, str] = {}
        """What was said last about the people."""
        self._answers: dict[int, _Answer] = {}
        self._revisions: dict[int, int] = {}
        """By the id of an utterance that is not over."""

    def to(self, items: Sequence[Utterance | Event]) -> Iterator[Event]:
        """Encode what waits, each length bucket as one batch, and yield events in the order of arrival.

        An event is out when the next one is asked for.
        """
        waiting = [item for item in items if isinstance(item, Utterance) and item.is_encoded]
        for stream in dict.fromkeys(utterance.stream for utterance in waiting):
            yield from self._refresh(stream)
        waveforms = [utterance.segment.samples for utterance in waiting]
        encodings = iter(self._recognizer.encode(waveforms, self._households.wants_voiceprints) if waiting else ())
        for item in items:
            if isinstance(item, Event):
                self.skipped += item.type == "skipped"
                yield self._numbered(item)
            elif item.is_encoded:
                yield from self._answer(item, next(encodings), len(waiting))
            elif item.step == "ended":
                yield from self._end(item)
            else:
                withdrawn = self._answers.pop(item.id, None)
                if not (withdrawn and withdrawn.recognition.other_voice):
                    yield self._numbered(_mark(item))

    def _answer(self, utterance: Utterance, encoding: Encoding, together: int) -> Iterator[Event]:
        """Say how a part of an utterance sounded, or all of it if they do not go on; of another voice nothing."""
        recognition = utterance.stream.recognize(utterance, encoding)
        waited_ms = (time.monotonic() - utterance.queued_at_s) * 1e3
        latency_ms = {
            "endpoint": _endpoint_ms(utterance),
            "capture": utterance.capture_ms,
            "queue": waited_ms - sum(recognition.latency_ms.values()),
            **recognition.latency_ms,
        }
        latency_ms["total"] = sum(latency_ms.values())
        kind: EventType = "partial" if utterance.step == "partial" else "provisional"
        event = answer_event(kind, utterance.source, utterance.id, utterance.segment, recognition, self._settings)
        event = replace(event, latency_ms=latency_ms)
        if kind == "provisional":
            self._answers[utterance.id] = _Answer(event, recognition, together)
        if not recognition.other_voice:
            yield self._numbered(event)

    def _end(self, utterance: Utterance) -> Iterator[Event]:
        """Say the last provisional answer once more, now that it is final, and learn from it."""
        answer = self._answers.pop(utterance.id)
        ready_at_s = time.monotonic()
        endpoint_ms, provisional_ms = _endpoint_ms(utterance), answer.event.latency_ms["total"]
        latency_ms = answer.event.latency_ms | {"endpoint": endpoint_ms, "capture": utterance.capture_ms}
        latency_ms |= {
            "provisional": provisional_ms,
            "total": endpoint_ms + utterance.capture_ms + (ready_at_s - utterance.queued_at_s) * 1e3,
        }
        if answer.recognition.other_voice:
            self.skipped += 1
            message = f"it is another voice: the source is {utterance.stream.household}"
            yield self._numbered(skipped_event(utterance, "other_voice", message))
        else:
            self.utterances += 1
            self.latencies_ms.append((latency_ms["total"], provisional_ms))
            yield self._numbered(replace(answer.event, type="utterance", time=wall_clock(), latency_ms=latency_ms))
        self._observe(self._timing(utterance, answer, latency_ms, ready_at_s))
        if news := utterance.stream.follow(answer.recognition):
            yield status(utterance.source, "room_changed", news)
        yield from self._refine(utterance.stream, answer.recognition)

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
            lost_s=sum(stream.lost_s for stream in self._streams),
        )

    def _observe(self, timing: Timing) -> None:
        """Call the observers; one that fails is dropped, since it must not end the run."""
        for observer in list(self._observers):
            try:
                observer(timing)
            except Exception:
                logger.warning("%r fails, and observes no more", observer, exc_info=True)
                self._observers.remove(observer)

    def _refresh(self, stream: Stream) -> Iterator[Event]:
        """Follow changes of the speaker store; trouble with it stops nothing."""
        household = stream.household
        self._news.setdefault(household, str(household))
        try:
            if household.refresh():
                yield from self._people_news(stream, "people_changed", str(household))
        except AffectdError as error:
            yield from self._people_news(stream, "store_trouble", f"the speakers stay as they were: {error}")
        if stream.room:
            stream.room.follow_people(household.everyone)

    def _refine(self, stream: Stream, recognition: Recognition) -> Iterator[Event]:
        if recognition.speaker is None or recognition.moved or not recognition.teaches:
            return
        if not self._settings.speakers.refine:
            return
        speaker = recognition.speaker
        try:
            if self._refiners[stream.household].collect(speaker.name, speaker.score, recognition.encoding.embedding):
                yield from self._people_news(stream, "profile_refined", f"the profile of {speaker.name} was refined")
        except AffectdError as error:
            news = f"the profile of {speaker.name} stays as it was: {error}"
            yield from self._people_news(stream, "store_trouble", news)

    def _people_news(self, stream: Stream, reason: StatusReason, news: str) -> Iterator[Event]:
        if news != self._news[stream.household]:
            self._news[stream.household] = news
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
