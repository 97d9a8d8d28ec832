"""Utterances out of voiced frames: hysteresis, pre-roll, end silence, minimum and maximum length, and a clock.

The clock counts samples that arrived plus samples that were lost, so times stay those of the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.capture import Block
from edge.errors import AffectdError
from edge.settings import SegmenterSettings, VadSettings
from edge.vad import FRAME_S, FRAME_SAMPLES, VoiceActivity, level

CUT_SEARCH_FRAMES = 50


@dataclass(frozen=True)
class Segment:
    """One utterance, or a part of one that was longer than the maximum."""

    samples: Waveform
    """``float32[n]``, 16 kHz, ±1: the voiced part with up to ``pre_roll_s`` before and after it."""
    start_s: float
    """Source time of the first voiced sample."""
    end_s: float
    """Source time after the last voiced sample."""
    decided_s: float
    """Source time after the last sample that was needed to know that the utterance is over."""
    truncated: bool = False
    """Cut at the maximum length; the next segment continues with the very next sample."""
    dropped_s: float = 0.0
    """Audio lost between the previous segment and this one."""


@dataclass(frozen=True)
class _Frame:
    samples: Waveform
    voiced: bool


class Segmenter:
    """Turns blocks of any length into segments; how the audio was blocked makes no difference to the result."""

    def __init__(self, vad_settings: VadSettings, settings: SegmenterSettings) -> None:
        self._vad = VoiceActivity(vad_settings)
        self._start_frames = _frames(settings.start_s)
        self._roll_frames = int(settings.pre_roll_s / FRAME_S)
        self._min_speech_frames = _frames(settings.min_speech_s)
        self._max_frames = int(settings.max_s / FRAME_S)
        # A pause longer than half an utterance would leave a cut without a voice on one side.
        self._end_silence_frames = min(_frames(settings.end_silence_s), self._max_frames // 2)
        self._pending = np.zeros(0, np.float32)
        self._frames: list[_Frame] = []
        """The current utterance with its pre-roll; while nobody speaks, what may become the next pre-roll."""
        self._open = False
        self._continued = False
        self._position = 0
        """Source time in samples after the last of ``_frames``."""
        self._dropped_s = 0.0

    def push(self, samples: Waveform, lost_s: float = 0.0, restarted: bool = False) -> list[Segment]:
        """Take the next ``float32[n]`` (16 kHz, ±1) and return the utterances that ended.

        Args:
            samples: audio of any length.
            lost_s: audio lost just before ``samples``. It ends the current utterance and moves the clock.
            restarted: the stream was re-opened before ``samples``; voice activity starts afresh.
        """
        segments = []
        if lost_s or restarted:
            segments += self.flush()
            self._position += round(lost_s * SAMPLE_RATE_HZ)
            self._dropped_s += lost_s
        if restarted:
            self._vad.reset()
        self._pending = np.concatenate([self._pending, samples])
        whole = len(self._pending) // FRAME_SAMPLES * FRAME_SAMPLES
        frames, self._pending = self._pending[:whole], self._pending[whole:].copy()
        for frame in frames.reshape(-1, FRAME_SAMPLES):
            segments += self._take(_Frame(frame.copy(), self._vad.is_voiced(frame)))
        return segments

    def flush(self) -> list[Segment]:
        """Return the utterance that the end of the stream (or a gap in it) cuts off, if there is one."""
        self._frames.append(_Frame(self._pending, voiced=False))
        self._position += len(self._pending)
        self._pending = np.zeros(0, np.float32)
        segments = self._close() if self._open else []
        self._frames.clear()
        return segments

    def _take(self, frame: _Frame) -> list[Segment]:
        self._frames.append(frame)
        self._position += FRAME_SAMPLES
        if not self._open:
            recent = self._frames[-2 * self._start_frames :]
            if sum(frame.voiced for frame in recent) < self._start_frames:
                del self._frames[: -(self._roll_frames + 2 * self._start_frames)]
                return []
            self._open = True
            first_voiced = len(self._frames) - len(recent) + [frame.voiced for frame in recent].index(True)
            del self._frames[: max(0, first_voiced - self._roll_frames)]
        if frame.voiced and len(self._frames) > self._max_frames:
            return self._cut()
        if not any(frame.voiced for frame in self._frames[-self._end_silence_frames :]):
            return self._close()
        return []

    def _cut(self) -> list[Segment]:
        """Split at the quietest of the latest frames, where a cut hurts least, and leave enough to be an utterance."""
        newest = self._max_frames - self._min_speech_frames
        oldest = max(self._max_frames - CUT_SEARCH_FRAMES, self._max_frames // 2)
        cut = min(range(oldest, newest + 1), key=lambda index: level(self._frames[index].samples))
        segment = self._segment(cut, truncated=True)
        del self._frames[:cut]
        self._continued = True
        return [segment]

    def _close(self) -> list[Segment]:
        voiced = [index for index, frame in enumerate(self._frames) if frame.voiced]
        end = min(voiced[-1] + 1 + self._roll_frames, self._max_frames)
        enough = self._continued or len(voiced) >= self._min_speech_frames
        segments = [self._segment(end)] if enough else []
        # What follows may be the pre-roll of the next utterance, so that no sample is in two segments.
        del self._frames[:end]
        self._open = self._continued = False
        return segments

    def _segment(self, end: int, truncated: bool = False) -> Segment:
        first_s = (self._position - sum(len(frame.samples) for frame in self._frames)) / SAMPLE_RATE_HZ
        voiced = [index for index, frame in enumerate(self._frames[:end]) if frame.voiced]
        dropped_s, self._dropped_s = self._dropped_s, 0.0
        return Segment(
            samples=np.concatenate([frame.samples for frame in self._frames[:end]]),
            start_s=first_s + voiced[0] * FRAME_S,
            end_s=first_s + (voiced[-1] + 1) * FRAME_S,
            decided_s=self._position / SAMPLE_RATE_HZ,
            truncated=truncated,
            dropped_s=dropped_s,
        )


def _frames(duration_s: float) -> int:
    return max(1, round(duration_s / FRAME_S))


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


def spoken(waveform: Waveform) -> Waveform:
    """Return what a segmenter with the default settings keeps of ``float32[samples]``, all of it if there is no voice.

    This is what of a recording the models learn from and are evaluated on: silence before and after is not the voice.
    """
    segmenter = Segmenter(VadSettings(), SegmenterSettings())
    segments = segmenter.push(waveform) + segmenter.flush()
    return np.concatenate([segment.samples for segment in segments]) if segments else waveform
