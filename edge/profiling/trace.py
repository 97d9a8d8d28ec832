"""A replay as a Chrome trace for ui.perfetto.dev: the pipeline's spans with onnxruntime's own inside, on one clock."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime

from edge.arrays import Integers, Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from edge.capture import Block, Source, open_source
from edge.encoder import Encoder, SpeakerEncoder
from edge.engine import Engine
from edge.event import Event
from edge.outputs import JsonLines, Output
from edge.people.household import Household
from edge.profiling.replay import for_replay
from edge.recognizer import Recognizer
from edge.settings import Settings
from edge.timing import Timing

PROCESS, LISTENING, INFERENCE, OUTPUT, UTTERANCES, WORKERS = 1, 1, 2, 3, 10, 1_000
"""Track numbers; a track for each utterance at the same time, and for each worker thread, follows the last two."""
OF_ANSWER = ("queue", "encoder", "speaker", "adapt", "head")
MODEL_RUN = "model_run"
KEPT_ARGUMENTS = ("op_name", "provider", "input_type_shape", "output_type_shape")

TraceEvent = dict[str, Any]


@dataclass
class Spans:
    """Events of a trace, in microseconds since ``started_s`` of the monotonic clock. Any thread may add."""

    started_s: float = field(default_factory=time.monotonic)
    events: list[TraceEvent] = field(default_factory=list)

    def add(self, name: str, track: int, start_s: float, end_s: float, **arguments: object) -> TraceEvent:
        """Add a span between two times of the monotonic clock, and return its event."""
        ts, dur = (start_s - self.started_s) * 1e6, (end_s - start_s) * 1e6
        event = {"name": name, "ph": "X", "pid": PROCESS, "tid": track, "ts": ts, "dur": dur, "args": arguments}
        self.events.append(event)
        return event

    @contextmanager
    def span(self, name: str, track: int, **arguments: object) -> Iterator[TraceEvent]:
        """Add what happens inside; the event is given at the start, and its duration is right at the end."""
        start_s = time.monotonic()
        event = self.add(name, track, start_s, start_s, **arguments)
        yield event
        event["dur"] = (time.monotonic() - start_s) * 1e6

    def name_track(self, track: int, name: str) -> None:
        """Give a track the name that is shown."""
        arguments = {"name": name}
        self.events.append({"name": "thread_name", "ph": "M", "pid": PROCESS, "tid": track, "args": arguments})


def trace_replay(file: Path, bundle: Bundle, settings: Settings) -> dict[str, object]:
    """Play a recording in real time, and return the trace for ``json.dump``.

    Tracing slows inference down, so its figures are for finding out, not for reporting.
    """
    spans = Spans()
    playing = for_replay(settings, file)
    recognizer = Recognizer(bundle, playing.encoder)
    timings: list[Timing] = []
    with tempfile.TemporaryDirectory(prefix="affectd-trace-") as folder, open(os.devnull, "w") as nowhere:
        encoders = [_TracedEncoder(recognizer.encoder, spans, Path(folder))]
        recognizer.encoder = encoders[0]
        household = Household(bundle, playing.speakers)
        household.load()
        if household.wants_voiceprints:
            speaker_encoder = _TracedSpeakerEncoder(SpeakerEncoder.of(bundle, playing.encoder), spans, Path(folder))
            speaker_encoder.load()
            recognizer.speaker_encoder = speaker_encoder
            encoders.append(speaker_encoder)
        source, output = _TracedSource(open_source(playing.capture), spans), _TracedOutput(JsonLines(nowhere), spans)
        Engine([source], recognizer, [output], playing, observers=[timings.append]).run()
        for encoder in encoders:
            encoder.add_profile()
    _add_utterances(spans, timings)
    spans.name_track(LISTENING, "listening: voice activity")
    spans.name_track(INFERENCE, "inference")
    spans.name_track(OUTPUT, "output")
    manifest = bundle.manifest
    about = {"bundle": f"{manifest.name} {manifest.version}", "recording": file.name, "provider": encoders[0].provider}
    return {"traceEvents": spans.events, "displayTimeUnit": "ms", "otherData": about}


class _TracedEncoder(Encoder):
    """Another encoder's double whose session keeps onnxruntime's profile."""

    def __init__(self, encoder: Encoder, spans: Spans, folder: Path) -> None:
        super().__init__(encoder.path, encoder.dim, encoder.buckets, encoder.settings)
        self._spans, self._folder = spans, folder
        self._runs: list[TraceEvent] = []

    def options(self) -> onnxruntime.SessionOptions:
        """Return the usual ones, and a profile."""
        options = super().options()
        options.enable_profiling = True
        options.profile_file_prefix = str(self._folder / self.output)
        return options

    def embed_padded(self, padded: Waveform, lengths: Integers) -> Matrix:
        """See ``Encoder``."""
        batch, samples = padded.shape
        with self._spans.span(self.output, INFERENCE, bucket_s=samples / SAMPLE_RATE_HZ, batch=batch) as run:
            self._runs.append(run)
            return super().embed_padded(padded, lengths)

    def add_profile(self) -> None:
        """End onnxruntime's profile, and add its events to the spans."""
        assert self._session is not None
        started_s = _monotonic_s(self._session.get_profiling_start_time_ns())
        offset_us = (started_s - self._spans.started_s) * 1e6
        own_thread = threading.get_native_id()
        workers: set[int] = set()
        recorded = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        spans = [event | {"ts": event["ts"] + offset_us} for event in recorded if event.get("ph") == "X"]
        for event in within(self._runs, spans):
            track = INFERENCE if event["tid"] == own_thread else WORKERS + event["tid"]
            workers |= {track} - {INFERENCE}
            kept = {key: value for key, value in event.get("args", {}).items() if key in KEPT_ARGUMENTS}
            self._spans.events.append(event | {"pid": PROCESS, "tid": track, "args": kept})
        for track in workers:
            self._spans.name_track(track, "onnxruntime worker")


class _TracedSpeakerEncoder(_TracedEncoder, SpeakerEncoder):
    """The same for voiceprints."""


class _TracedSource:
    """A source whose consumer's time with each block is a span."""

    def __init__(self, source: Source, spans: Spans) -> None:
        self.name, self.can_wait = source.name, source.can_wait
        self._source, self._spans = source, spans

    def blocks(self) -> Iterator[Block]:
        """See ``Source``."""
        for block in self._source.blocks():
            with self._spans.span("block", LISTENING, audio_s=len(block.samples) / SAMPLE_RATE_HZ):
                yield block

    def close(self) -> None:
        """See ``Source``."""
        self._source.close()


class _TracedOutput:
    """An output whose every event is a span."""

    def __init__(self, output: Output, spans: Spans) -> None:
        self.name = output.name
        self._output, self._spans = output, spans

    def open(self) -> None:
        """See ``Output``."""
        self._output.open()

    def write(self, event: Event) -> None:
        """See ``Output``."""
        with self._spans.span(f"publish {event.type}", OUTPUT):
            self._output.write(event)

    def close(self) -> None:
        """See ``Output``."""
        self._output.close()


def _add_utterances(spans: Spans, timings: Sequence[Timing]) -> None:
    """Add each utterance with its stages one after the other; those at the same time are on tracks of their own.

    ``tail`` is the silence that the answer waits for, ``endpoint`` the rest of the silence that makes it final.
    """
    free_at_s: list[float] = []
    for timing in timings:
        ends_s = timing.published_at_s
        speech_ends_s = ends_s - (timing.total_ms + timing.stage_ms["publish"]) / 1e3
        starts_s = speech_ends_s - timing.speech_s
        lane = next((lane for lane, free_s in enumerate(free_at_s) if free_s <= starts_s), len(free_at_s))
        free_at_s[lane : lane + 1] = [ends_s]
        track = UTTERANCES + lane
        spans.add("utterance", track, starts_s, ends_s, bucket_s=timing.bucket_s, together=timing.together)
        spans.add("speech", track, starts_s, speech_ends_s)
        answered_s = speech_ends_s + timing.provisional_ms / 1e3
        published_s = ends_s - timing.stage_ms["publish"] / 1e3
        decided_s = max(answered_s, published_s - timing.stage_ms["capture"] / 1e3)
        at_s = answered_s - sum(timing.stage_ms[stage] for stage in OF_ANSWER) / 1e3
        spans.add("tail", track, speech_ends_s, at_s)
        for stage in OF_ANSWER:
            if timing.stage_ms[stage]:
                spans.add(stage, track, at_s, at_s + timing.stage_ms[stage] / 1e3)
                at_s += timing.stage_ms[stage] / 1e3
        spans.add("endpoint", track, answered_s, decided_s)
        spans.add("capture", track, decided_s, published_s)
        spans.add("publish", track, published_s, ends_s)
    for lane in range(len(free_at_s)):
        spans.name_track(UTTERANCES + lane, "utterances")


def within(runs: Sequence[TraceEvent], spans: Sequence[TraceEvent]) -> list[TraceEvent]:
    """Return onnxruntime's spans, each run of the model moved into the span of the pipeline that made it.

    The two clocks are read one after the other and may drift, which shifts them by some microseconds.
    """
    began = [span for span in sorted(spans, key=lambda span: (span["ts"], -span["dur"])) if span["name"] == MODEL_RUN]
    starts = [span["ts"] for span in began]
    shifts = []
    for run, inner in zip(runs, began, strict=True):
        earliest = run["ts"] - inner["ts"]
        latest = earliest + run["dur"] - inner["dur"]
        shifts.append(max(earliest, min(0.0, latest)))
    moved = []
    for span in spans:
        number = bisect_right(starts, span["ts"]) - 1
        moved.append(span | {"ts": span["ts"] + shifts[number]} if number >= 0 else span)
    return moved


def _monotonic_s(profile_start_ns: int) -> float:
    """Return the start of a profile on the monotonic clock.

    onnxruntime takes it from C++'s high-resolution clock, which is the wall clock on some systems and the monotonic
    clock on others.
    """
    wall_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
    is_wall = abs(profile_start_ns - wall_ns) < abs(profile_start_ns - monotonic_ns)
    return (profile_start_ns - (wall_ns - monotonic_ns if is_wall else 0)) / 1e9
