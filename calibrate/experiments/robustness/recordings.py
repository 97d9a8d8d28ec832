"""Recordings with what is spoken in them, clean and degraded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from calibrate.dataset import Part
from calibrate.experiments.robustness.conditions import Babble, Condition, conditions, power
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.errors import UsageError
from edge.high_pass import high_passed
from edge.segment import Segment
from edge.segmenter import Segmenter
from edge.settings import SegmenterSettings, VadSettings
from edge.spoken import spoken
from edge.vad import FRAME_SAMPLES

SILENCES_MS = (30, 240, 500)
"""Behind the voice; the device keeps ``segmenter.tail_s``, 240 ms."""
QUIET_FRAMES = 3


@dataclass(frozen=True)
class Recording:
    """A recording and where in it someone speaks."""

    key: str
    waveform: Waveform
    ranges: list[slice]
    """Empty when the segmenter finds nobody."""
    voice_end: int
    """Sample after the last that is voiced; the end when the segmenter finds nobody."""

    @property
    def spoken_power(self) -> float:
        """Mean power of what is spoken."""
        return power(cut(self.waveform, self.ranges))


Change = Callable[[Recording], Recording]
"""From a clean recording to the same under a condition."""


def changes(babble: Babble, seed: int = 0) -> dict[str, Change]:
    """Return what recordings are changed by, by name: all ``conditions``, and silences behind the voice."""
    made: dict[str, Change] = {name: partial(degrade, how=how) for name, how in conditions(babble, seed).items()}
    return made | {
        silence_name(silence_ms): partial(end_in_silence, silence_ms=silence_ms) for silence_ms in SILENCES_MS
    }


def silence_name(silence_ms: float) -> str:
    """Return what a silence behind the voice is called in tables."""
    return f"silence {silence_ms} ms"


def read_recording(speaker: str, path: Path) -> Recording:
    """Read a file of a speaker."""
    waveform = read_audio(path)
    segments = _segments(waveform)
    voice_end = round(segments[-1].end_s * SAMPLE_RATE_HZ) if segments else len(waveform)
    return Recording(f"{speaker}/{path.name}", waveform, _ranges(waveform, segments), voice_end)


def degrade(recording: Recording, how: Condition) -> Recording:
    """Return the recording under a condition, within what a 16-bit converter can hold."""
    changed = how(recording.waveform, recording.spoken_power, recording.key)
    return replace(recording, waveform=np.asarray(np.clip(changed, -1, 1), np.float32))


def end_in_silence(recording: Recording, silence_ms: float) -> Recording:
    """Return the recording with so much behind the last voiced sample, and all of that within the boundaries.

    It is what follows there, cut or, where the recording ends before, filled up with its own quietest noise.
    """
    samples, end = round(silence_ms / 1000 * SAMPLE_RATE_HZ), recording.voice_end
    behind = recording.waveform[end : end + samples]
    noise = np.resize(_quietest(recording.waveform), samples - len(behind))
    *before, last = recording.ranges or [slice(0, end)]
    return replace(
        recording,
        waveform=np.concatenate([recording.waveform[:end], behind, noise]),
        ranges=[*before, slice(last.start, end + samples)],
    )


def cut(waveform: Waveform, ranges: Sequence[slice]) -> Waveform:
    """Return the ranges of ``float32[samples]`` one after the other, high-passed; all of it where there are none."""
    filtered = high_passed(waveform)
    return np.concatenate([filtered[where] for where in ranges]) if ranges else filtered


def spoken_ranges(waveform: Waveform) -> list[slice]:
    """Return where the device's segmenter finds its segments, see ``edge.spoken.spoken``."""
    return _ranges(waveform, _segments(waveform))


def draw_babble(part: Part, count: int, seed: int) -> Babble:
    """Return what is spoken in ``count`` utterances of the training part, drawn evenly over its speakers."""
    if not part.utterances:
        raise UsageError("no speaker of the corpora is in the train split, whose voices make the babble")
    rng = np.random.default_rng(seed)
    speakers = part.speakers
    names = rng.permutation(np.unique(speakers))
    rows = [int(rng.choice(np.flatnonzero(speakers == names[index % len(names)]))) for index in range(count)]
    return Babble([spoken(read_audio(part.paths[row])) for row in rows], [str(speakers[row]) for row in rows])


def thin_out(part: Part, clips: int | None, seed: int) -> Part:
    """Return at most ``clips`` utterances of each speaker, of every label as many as possible; all for None."""
    if clips is None:
        return part
    rng = np.random.default_rng(seed)
    kept = np.zeros(len(part.labels), bool)
    for speaker in np.unique(part.speakers):
        shuffled = rng.permutation(np.flatnonzero(part.speakers == speaker))
        labels = part.labels[shuffled]
        earlier_of_its_label = [int((labels[:index] == label).sum()) for index, label in enumerate(labels)]
        kept[shuffled[np.argsort(earlier_of_its_label, kind="stable")[:clips]]] = True
    return part.select(kept)


def _segments(waveform: Waveform) -> list[Segment]:
    segmenter = Segmenter(VadSettings(), SegmenterSettings())
    return [*segmenter.push(waveform), *segmenter.flush()]


def _ranges(waveform: Waveform, segments: Sequence[Segment]) -> list[slice]:
    ranges: list[slice] = []
    filtered = high_passed(waveform)
    for segment in segments:
        size = len(segment.samples)
        starts = range(ranges[-1].stop if ranges else 0, len(waveform) - size + 1, FRAME_SAMPLES)
        start = next(start for start in starts if np.array_equal(filtered[start : start + size], segment.samples))
        ranges.append(slice(start, start + size))
    return ranges


def _quietest(waveform: Waveform) -> Waveform:
    """Return the quietest frames in a row, forth and back, so that they join when they are repeated."""
    size = QUIET_FRAMES * FRAME_SAMPLES
    starts = range(0, max(len(waveform) - size, 0) + 1, FRAME_SAMPLES)
    quietest = min((waveform[start : start + size] for start in starts), key=power)
    return np.concatenate([quietest, quietest[::-1]])
