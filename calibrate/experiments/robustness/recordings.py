"""Recordings with what is spoken in them, clean and degraded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibrate.dataset import Part
from calibrate.experiments.robustness.conditions import Babble, Condition, power
from edge.audio import Waveform, read_audio
from edge.errors import UsageError
from edge.segmenter import Segmenter, spoken
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
