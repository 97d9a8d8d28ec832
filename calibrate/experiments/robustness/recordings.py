"""Recordings with what is spoken in them, clean and degraded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibrate.experiments.robustness.conditions import Condition, power
from edge.audio import Waveform, read_audio
from edge.segmenter import Segmenter
from edge.settings import SegmenterSettings, VadSettings
from edge.vad import FRAME_SAMPLES


@dataclass(frozen=True)
class Recording:
    """A clean recording and where in it someone speaks."""

    key: str
    waveform: Waveform
    ranges: list[slice]
    """Empty when the segmenter finds nobody."""

    @property
    def spoken_power(self) -> float:
        """Mean power of what is spoken."""
        return power(cut(self.waveform, self.ranges))


def read_recording(speaker: str, path: Path) -> Recording:
    """Read a file of a speaker."""
    waveform = read_audio(path)
    return Recording(f"{speaker}/{path.name}", waveform, spoken_ranges(waveform))


def degrade(recording: Recording, how: Condition) -> Waveform:
    """Return the recording under a condition, within what a 16-bit converter can hold."""
    changed = how(recording.waveform, recording.spoken_power, recording.key)
    return np.asarray(np.clip(changed, -1, 1), np.float32)


def cut(waveform: Waveform, ranges: Sequence[slice]) -> Waveform:
    """Return the ranges of ``float32[samples]`` one after the other; all of it where there are none."""
    return np.concatenate([waveform[where] for where in ranges]) if ranges else waveform


def spoken_ranges(waveform: Waveform) -> list[slice]:
    """Return where the device's segmenter finds its segments, see ``edge.segmenter.spoken``."""
    segmenter = Segmenter(VadSettings(), SegmenterSettings())
    ranges: list[slice] = []
    for segment in [*segmenter.push(waveform), *segmenter.flush()]:
        size = len(segment.samples)
        starts = range(ranges[-1].stop if ranges else 0, len(waveform) - size + 1, FRAME_SAMPLES)
        start = next(start for start in starts if np.array_equal(waveform[start : start + size], segment.samples))
        ranges.append(slice(start, start + size))
    return ranges
