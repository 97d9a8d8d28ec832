"""Robustness: how much worse a model hears in noise, rooms, on the phone and through a low-rate codec."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from calibrate.dataset import Part, Rows, read_parts
from calibrate.experiments.conditions import MEANING, Babble, Condition, conditions, power
from calibrate.experiments.robustness_report import Heard, Table, as_json, show, write_robustness
from calibrate.metrics import Probabilities, unweighted_accuracy
from calibrate.progress import progress_bar
from calibrate.splits import Split
from calibrate.trained import chunks, open_trained
from calibrate.workspace import Workspace
from edge.audio import Waveform, read_audio
from edge.errors import UsageError, nearest
from edge.segmenter import Segmenter, spoken
from edge.settings import SegmenterSettings, VadSettings
from edge.vad import FRAME_SAMPLES

MISSED = -1
"""The answer where the segmenter found nobody."""
BABBLE_CLIPS = 96
HELD_OUT: tuple[Split, ...] = ("validation", "test")
PROTOCOL = (
    "hearing: UA on what is spoken in the clean recording, whose boundaries are kept, so that only the encoder is "
    "judged; chain: the segmenter, too, hears the degraded recording, and an utterance that it misses counts as wrong; "
    "no adaptation"
)


Answer = Callable[[Sequence[Waveform]], Probabilities]
"""Utterances, each ``float32[samples]``, to ``float32[n, labels]``."""


@dataclass(frozen=True)
class Recording:
    """A clean recording and where in it someone speaks."""

    key: str
    waveform: Waveform
    ranges: list[slice]
    """Empty when the segmenter hears nobody."""

    @property
    def spoken_power(self) -> float:
        """Mean power of what is spoken."""
        return power(cut(self.waveform, self.ranges))


def measure_robustness(
    model: Path,
    data: Path,
    out: Path,
    *,
    recipe: Path | None,
    split: str,
    encoder: str | None,
    clips: int | None,
    seed: int,
    threads: int,
    json_only: bool,
) -> None:
    """Measure a run or a bundle under all conditions, write the report to ``out`` and show it."""
    held_out = _held_out(split)
    torch.set_num_threads(threads)
    opened = open_trained(Workspace(data, threads=threads), model, encoder)
    chosen = opened.recipe(recipe)
    parts = read_parts(chosen, data)
    if not parts[held_out].utterances:
        raise UsageError(f"no speaker of the corpora is in the {split} split")
    part = thin_out(parts[held_out], clips, seed)
    babble = draw_babble(parts["train"], BABBLE_CLIPS, seed)
    table = robustness(opened.probabilities, part, conditions(babble, seed), threads)
    speakers = set(part.speakers.tolist())
    known = f", {len(known)} of {len(speakers)} trained on" if (known := speakers.intersection(opened.speakers)) else ""
    some = f"at most {clips} utterances of each, drawn evenly over the labels" if clips else "all their utterances"
    protocol = (
        f"{split} speakers of {chosen.splits.file or 'a seeded draw'}{known}, {some}; {opened.name}; "
        f"{PROTOCOL}; {MEANING}; seed {seed}"
    )
    write_robustness(out, table, protocol)
    if json_only:
        print(json.dumps(as_json(table, protocol)))
    else:
        show(table)
        print(f"report written to {out}")


def robustness(answer: Answer, part: Part, under: Mapping[str, Condition], threads: int = 1) -> Table:
    """Return corpus → condition → what was heard, for utterances of speakers never trained on."""
    predicted: dict[str, list[tuple[Rows, Rows]]] = {name: [] for name in under}
    with progress_bar() as progress, ThreadPoolExecutor(threads) as pool:
        task = progress.add_task("listening", total=len(part.paths) * len(under))
        for rows in chunks(len(part.paths)):
            recordings = list(pool.map(_read, (part.utterances[row].speaker for row in rows), _paths(part, rows)))
            for name, condition in under.items():
                degraded = list(pool.map(lambda recording, how=condition: degrade(recording, how), recordings))
                predicted[name].append(_both(answer, recordings, degraded, list(pool.map(spoken_ranges, degraded))))
                progress.advance(task, len(rows))
    columns = {
        name: (np.concatenate([heard for heard, _ in found]), np.concatenate([chain for _, chain in found]))
        for name, found in predicted.items()
    }
    return {
        str(corpus): {
            name: Heard(
                ua=unweighted_accuracy(heard[rows], part.labels[rows]),
                chain_ua=unweighted_accuracy(chain[rows], part.labels[rows]),
                missed=float((chain[rows] == MISSED).mean()),
                utterances=int(rows.sum()),
            )
            for name, (heard, chain) in columns.items()
        }
        for corpus in dict.fromkeys(part.corpora.tolist())
        if (rows := part.corpora == corpus).any()
    }


def degrade(recording: Recording, how: Condition) -> Waveform:
    """Return the recording under a condition, within what a 16-bit converter can hold."""
    changed = how(recording.waveform, recording.spoken_power, recording.key)
    return np.asarray(np.clip(changed, -1, 1), np.float32)


def _both(
    answer: Answer, recordings: Sequence[Recording], degraded: Sequence[Waveform], found: Sequence[list[slice]]
) -> tuple[Rows, Rows]:
    """Return the label ``int64[n]`` heard within the clean boundaries, and within those found."""
    clean = [recording.ranges for recording in recordings]
    heard = answer([cut(*pair) for pair in zip(degraded, clean, strict=True)]).argmax(axis=1).astype(np.int64)
    chain = np.where([bool(ranges) for ranges in found], heard, MISSED)
    moved = [row for row, ranges in enumerate(found) if ranges and ranges != clean[row]]
    if moved:
        chain[moved] = answer([cut(degraded[row], found[row]) for row in moved]).argmax(axis=1)
    return heard, chain


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


def _read(speaker: str, path: Path) -> Recording:
    waveform = read_audio(path)
    return Recording(f"{speaker}/{path.name}", waveform, spoken_ranges(waveform))


def _paths(part: Part, rows: Rows) -> list[Path]:
    return [part.utterances[row].path for row in rows]


def _held_out(name: str) -> Split:
    for split in HELD_OUT:
        if split == name:
            return split
    raise UsageError(f"split {name!r} is not one of {', '.join(HELD_OUT)}{nearest(name, HELD_OUT)}")
