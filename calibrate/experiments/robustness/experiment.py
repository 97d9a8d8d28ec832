"""Robustness: how much worse a model recognises emotions in noise, in rooms, on the phone, quieter, or cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from calibrate.bootstrap import Interval, Tally
from calibrate.dataset import Part, Rows, read_only_tested, read_parts, require_speakers
from calibrate.experiments.robustness.conditions import MEANING
from calibrate.experiments.robustness.recordings import (
    Change,
    changes,
    cut,
    draw_babble,
    read_recording,
    spoken_ranges,
    thin_out,
)
from calibrate.experiments.robustness.report import Figures, FiguresTable, robustness_report
from calibrate.metrics import Probabilities, unweighted_accuracy
from calibrate.progress import progress_bar
from calibrate.report import Report
from calibrate.splits import Split
from calibrate.trained import chunks, open_trained
from calibrate.workspace import Workspace
from edge.audio import Waveform
from edge.errors import one_of
from edge.settings import SegmenterSettings

MISSED = -1
"""The answer where the segmenter found nobody."""
BABBLE_CLIPS = 96
HELD_OUT: tuple[Split, ...] = ("validation", "test")
PROTOCOL = (
    "hearing: UA on what is spoken in the clean recording, whose boundaries are kept, so that only the encoder is "
    "judged; chain: the segmenter, too, hears the degraded recording, and an utterance that it misses counts as wrong; "
    "silence: behind the last voiced frame, what follows there, cut or filled up with the recording's own quietest "
    "90 ms, and within the boundaries, where the chain keeps at most "
    f"{1e3 * SegmenterSettings().tail_s:.0f} ms of it; no adaptation"
)

Answer = Callable[[Sequence[Waveform]], Probabilities]
"""Utterances, each ``float32[samples]``, to ``float32[n, labels]``."""


class Predicted(NamedTuple):
    """Labels ``int64[n]`` under a condition."""

    encoder: Rows
    """Within the boundaries of the clean recording."""
    chain: Rows
    """Within the boundaries that the segmenter finds, or ``MISSED``."""


def measure_robustness(
    workspace: Workspace,
    folder: Path,
    *,
    recipe_path: Path | None,
    split: str,
    corpora: Sequence[str] = (),
    encoder: str | None,
    clips: int | None,
    seed: int,
) -> Report:
    """Measure a run or a bundle under all conditions.

    Args:
        split: whose speakers to evaluate on, where no corpora are given.
        corpora: of the recipe, only tested on, to evaluate on instead.
        clips: most utterances of each speaker; None: all.
        seed: of noise, rooms and babble.
    """
    held_out = one_of("split", split, HELD_OUT)
    model = open_trained(workspace, folder, encoder)
    recipe = model.recipe(recipe_path)
    parts = read_parts(recipe, workspace.data)
    if corpora:
        tested = read_only_tested(recipe, workspace.data, corpora)
        who = f"speakers of {' and '.join(dict.fromkeys(corpora))}, only tested on"
    else:
        tested = require_speakers(parts, held_out)
        who = f"{split} speakers of {recipe.splits.origin}"
    part = thin_out(tested, clips, seed)
    babble = draw_babble(parts["train"], BABBLE_CLIPS, seed)
    table = robustness(model.probabilities, part, changes(babble, seed), workspace.threads)
    speakers = set(part.speakers.tolist())
    known = f", {len(known)} of {len(speakers)} trained on" if (known := speakers.intersection(model.speakers)) else ""
    some = f"at most {clips} utterances of each, drawn evenly over the labels" if clips else "all their utterances"
    protocol = f"{who}{known}, {some}; {model.name}; {PROTOCOL}; {MEANING}; seed {seed}"
    return robustness_report(table, protocol)


def robustness(answer: Answer, part: Part, under: Mapping[str, Change], threads: int = 1) -> FiguresTable:
    """Return corpus → condition → figures, for utterances of speakers never trained on."""
    predicted: dict[str, list[Predicted]] = {name: [] for name in under}
    with progress_bar() as progress, ThreadPoolExecutor(threads) as pool:
        task = progress.add_task("listening", total=len(part.paths) * len(under))
        for rows in chunks(len(part.paths)):
            utterances = [part.utterances[row] for row in rows]
            recordings = list(pool.map(lambda each: read_recording(each.speaker, each.path), utterances))
            for name, change in under.items():
                changed = list(pool.map(change, recordings))
                degraded = [recording.waveform for recording in changed]
                found = list(pool.map(spoken_ranges, degraded))
                kept = [recording.ranges for recording in changed]
                predicted[name].append(_predict(answer, degraded, kept, found))
                progress.advance(task, len(rows))
    columns = {name: Predicted(*map(np.concatenate, zip(*found, strict=True))) for name, found in predicted.items()}
    return {
        str(corpus): {
            name: Figures(
                ua=unweighted_accuracy(column.encoder[rows], part.labels[rows]),
                chain_ua=unweighted_accuracy(column.chain[rows], part.labels[rows]),
                missed=float((column.chain[rows] == MISSED).mean()),
                utterances=int(rows.sum()),
                interval=_interval(part.select(rows), column.encoder[rows]),
                chain_interval=_interval(part.select(rows), column.chain[rows]),
            )
            for name, column in columns.items()
        }
        for corpus in dict.fromkeys(part.corpora.tolist())
        if (rows := part.corpora == corpus).any()
    }


def _interval(part: Part, predicted: Rows) -> Interval | None:
    return Tally.of(predicted == part.labels, part.labels, part.speakers).interval()


def _predict(
    answer: Answer, degraded: Sequence[Waveform], clean: Sequence[list[slice]], found: Sequence[list[slice]]
) -> Predicted:
    """Return labels of degraded recordings within the clean boundaries, and within those found."""
    labels = answer([cut(*pair) for pair in zip(degraded, clean, strict=True)]).argmax(axis=1).astype(np.int64)
    chain = np.where([bool(ranges) for ranges in found], labels, MISSED)
    moved = [row for row, ranges in enumerate(found) if ranges and ranges != clean[row]]
    if moved:
        chain[moved] = answer([cut(degraded[row], found[row]) for row in moved]).argmax(axis=1)
    return Predicted(labels, chain)
