"""Utterances out of voiced frames: hysteresis, pre-roll, tail, end silence, minimum and maximum length, and a clock.

The clock counts samples that arrived plus samples that were lost, so times stay those of the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform, peak
from edge.capture import Block
from edge.errors import AffectdError
from edge.high_pass import HighPass
from edge.pauses import Pauses, whole_frames
from edge.segment import FULL_SCALE, Segment, Step, StepKind
from edge.settings import PartialSettings, SegmenterSettings, VadSettings
from edge.vad import FRAME_S, FRAME_SAMPLES, level, voice_activity

CUT_SEARCH_FRAMES = 50
FIRST_PARTIAL_S = 1.0
"""Of an utterance, before which there is too little for a partial answer."""


@dataclass(frozen=True)
class _Frame:
    samples: Waveform
    voiced: bool
    clipped: int


class Segmenter:
    """Turns blocks of any length into utterances; how the audio was blocked makes no difference to the result."""

    def __init__(
        self, vad_settings: VadSettings, settings: SegmenterSettings, partials: PartialSettings | None = None
    ) -> None:
        self.hears_voice = False
        """In the last frame."""
        self.too_short = 0
        """Bursts of voice so far that were none of an utterance."""
        self._high_pass = HighPass(vad_settings.high_pass_hz)
        self._vad = voice_activity(vad_settings)
        self._start_frames = _frames(settings.start_s)
        self._roll_frames, self._tail_frames = whole_frames(settings.pre_roll_s), whole_frames(settings.tail_s)
        self._min_speech_frames = _frames(settings.min_speech_s)
        self._max_frames = whole_frames(settings.max_s)
        # A pause longer than half an utterance would leave a cut without a voice on one side.
        self._pauses = Pauses(settings, self._max_frames // 2)
        self._partial_frames = _frames(partials.every_s) if partials and partials.every_s else 0
        self._pending = np.zeros(0, np.float32)
        self._frames: list[_Frame] = []
        """The current utterance with its pre-roll; while nobody speaks, what may become the next pre-roll."""
        self._open = self._started = False
        self._voiced = self._silent = 0
        """Voiced frames of the current utterance, and frames since the last of them."""
        self._between = math.inf
        """Frames since the last voice, while no utterance is open; infinite if audio was lost since."""
        self._complete: Segment | None = None
        """Of the current utterance, if it is in a pause."""
        self._position = 0
        """Source time in samples after the last of ``_frames``."""
        self._dropped_s = 0.0

    @property
    def is_idle(self) -> bool:
        """Nobody speaks, nor has a frame lately been voiced from which an utterance may begin."""
        return not self._open and not any(frame.voiced for frame in self._frames[-2 * self._start_frames :])

    def continue_from(self, idle: Segmenter) -> None:
        """Take over the clock of another segmenter, and what it has kept as the next utterance's pre-roll."""
        self._position, self._dropped_s, self.too_short = idle._position, idle._dropped_s, idle.too_short
        self._frames, self._pending, self._between = idle._frames, idle._pending, idle._between

    def push(self, samples: Waveform, lost_s: float = 0.0, restarted: bool = False) -> list[Segment]:
        """Take audio as ``steps`` does, and return the utterances that ended."""
        return _ended(self.steps(samples, lost_s, restarted))

    def flush(self) -> list[Segment]:
        """Return the utterance that the end of the stream (or a gap in it) cuts off, if there is one."""
        return _ended(self.last_steps())

    def steps(
        self, samples: Waveform, lost_s: float = 0.0, restarted: bool = False, paused_s: float = 0.0
    ) -> list[Step]:
        """Take the next ``float32[n]`` (16 kHz, ±1) and return what became of utterances in it, in order.

        Args:
            samples: audio of any length.
            lost_s: audio lost just before ``samples``. It ends the current utterance, moves the clock, and the
                high-pass starts afresh.
            restarted: the stream was re-opened before ``samples``; voice activity starts afresh, too.
            paused_s: time before ``samples`` in which nobody listened: as if lost, but not counted.
        """
        steps = []
        if lost_s or paused_s or restarted:
            steps += self.last_steps()
            self._position += round((lost_s + paused_s) * SAMPLE_RATE_HZ)
            self._dropped_s += lost_s
            self._high_pass.reset()
        if restarted:
            self._vad.reset()
        self._pending = np.concatenate([self._pending, samples])
        whole = len(self._pending) // FRAME_SAMPLES * FRAME_SAMPLES
        frames, self._pending = self._pending[:whole], self._pending[whole:].copy()
        for arrived in frames.reshape(-1, FRAME_SAMPLES):
            samples = self._high_pass(arrived)
            self.hears_voice = self._vad.is_voiced(samples)
            steps += self._take(_Frame(samples, self.hears_voice, _clipped(arrived)))
        return steps

    def last_steps(self) -> list[Step]:
        """Return how the end of the stream (or a gap in it) ends the current utterance, if there is one."""
        self._frames.append(_Frame(self._high_pass(self._pending), False, _clipped(self._pending)))
        self._silent += 1
        self._position += len(self._pending)
        self._pending = np.zeros(0, np.float32)
        steps = self._close() if self._open else []
        self._frames.clear()
        self._between = math.inf
        return steps

    def _take(self, frame: _Frame) -> list[Step]:
        self._frames.append(frame)
        self._position += FRAME_SAMPLES
        if not self._open:
            self._between += 1
            recent = self._frames[-2 * self._start_frames :]
            if sum(frame.voiced for frame in recent) < self._start_frames:
                del self._frames[: -(self._roll_frames + 2 * self._start_frames)]
                return []
            self._open = True
            first_voiced = len(self._frames) - len(recent) + [frame.voiced for frame in recent].index(True)
            self._pauses.voiced_again(self._between - (len(self._frames) - first_voiced))
            del self._frames[: max(0, first_voiced - self._roll_frames)]
            self._voiced, self._silent = sum(frame.voiced for frame in self._frames) - 1, 0
        if frame.voiced:
            self._voiced += 1
            self._pauses.voiced_again(self._silent)
        self._silent = 0 if frame.voiced else self._silent + 1
        steps = self._go_on() if frame.voiced else []
        if frame.voiced and len(self._frames) > self._max_frames:
            return steps + self._cut()
        if self._silent >= self._pauses.end_frames:
            return steps + self._close()
        if self._silent == self._pauses.answer_frames and self._started:
            self._complete = self._segment(self._end)
            return [*steps, Step("provisional", self._complete)]
        return steps + self._partial()

    def _go_on(self) -> list[Step]:
        """Take a voiced frame: what follows from it for the pause before it, and for the start of an utterance."""
        if self._complete:
            self._complete = None
            self._pauses.answered(withdrawn=True)
            return [self._mark("resumed")]
        return self._start() if self._voiced >= self._min_speech_frames else []

    def _start(self) -> list[Step]:
        if self._started:
            return []
        self._started = True
        return [self._mark("started")]

    def _partial(self) -> list[Step]:
        if not self._partial_frames or not self._started or self._complete:
            return []
        first_voiced = next(index for index, frame in enumerate(self._frames) if frame.voiced)
        since_first = len(self._frames) - first_voiced - _frames(FIRST_PARTIAL_S)
        due = since_first >= 0 and since_first % self._partial_frames == 0
        return [Step("partial", self._segment(len(self._frames)))] if due else []

    def _cut(self) -> list[Step]:
        """Split at the quietest of the latest frames, where a cut hurts least, and leave enough to be an utterance."""
        newest = self._max_frames - self._min_speech_frames
        oldest = max(self._max_frames - CUT_SEARCH_FRAMES, self._max_frames // 2)
        cut = min(range(oldest, newest + 1), key=lambda index: level(self._frames[index].samples))
        steps = self._start() + self._finish(cut, truncated=True)
        del self._frames[:cut]
        self._started = False
        self._voiced = sum(frame.voiced for frame in self._frames)
        return steps + self._start()

    def _close(self) -> list[Step]:
        end = self._end
        steps = self._finish(end) if self._started else []
        self.too_short += not self._started
        # What follows may be the pre-roll of the next utterance, so that no sample is in two segments.
        del self._frames[:end]
        self._between = self._silent
        self._open = self._started = False
        return steps

    def _finish(self, end: int, truncated: bool = False) -> list[Step]:
        """End the utterance; one that is not in a pause gets its provisional step just before that."""
        complete = self._complete or self._segment(end, truncated)
        if self._complete:
            self._pauses.answered(withdrawn=False)
        steps = [] if self._complete else [Step("provisional", complete)]
        self._complete, self._dropped_s = None, 0.0
        return [*steps, Step("ended", replace(complete, decided_s=self._position / SAMPLE_RATE_HZ))]

    @property
    def _end(self) -> int:
        """Frames of the utterance and its tail, if no voice follows."""
        return min(len(self._frames) - self._silent + self._tail_frames, self._max_frames)

    def _mark(self, kind: StepKind) -> Step:
        return Step(kind, replace(self._segment(len(self._frames)), samples=np.zeros(0, np.float32)))

    def _segment(self, end: int, truncated: bool = False) -> Segment:
        first_s = (self._position - sum(len(frame.samples) for frame in self._frames)) / SAMPLE_RATE_HZ
        voiced = [index for index, frame in enumerate(self._frames[:end]) if frame.voiced]
        samples = np.concatenate([frame.samples for frame in self._frames[:end]])
        return Segment(
            samples=samples,
            start_s=first_s + voiced[0] * FRAME_S,
            end_s=first_s + (voiced[-1] + 1) * FRAME_S,
            decided_s=self._position / SAMPLE_RATE_HZ,
            truncated=truncated,
            dropped_s=self._dropped_s,
            clipped=sum(frame.clipped for frame in self._frames[:end]) / len(samples),
        )


def _clipped(samples: Waveform) -> int:
    if peak(samples) < FULL_SCALE:
        return 0
    return int((np.abs(samples) >= FULL_SCALE).sum())


def _frames(duration_s: float) -> int:
    return max(1, round(duration_s / FRAME_S))


def _ended(steps: Iterable[Step]) -> list[Segment]:
    return [step.segment for step in steps if step.kind == "ended"]


def segmented(blocks: Iterable[Block], segmenter: Segmenter) -> Iterator[tuple[Block, list[Segment]]]:
    """Yield each block of a source with the utterances that ended in it, the last ones with an empty block.

    Raises:
        AudioFileError: the source cannot be read (further); the utterance that this cuts off is yielded first.
        AudioDeviceError: the microphone cannot be opened.
    """
    failure: AffectdError | None = None
    try:
        for block in blocks:
            yield block, segmenter.push(block.samples, block.lost_s, block.restarted)
    except AffectdError as error:
        failure = error
    yield Block(np.zeros(0, np.float32), 0.0), segmenter.flush()
    if failure:
        raise failure
