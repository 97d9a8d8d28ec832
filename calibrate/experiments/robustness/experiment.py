"""Robustness: how much worse a model recognises emotions in noise, in rooms, on the phone and through a codec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure as Canvas

from calibrate.dataset import Part, Rows, read_parts, require_speakers
from calibrate.experiments.robustness.conditions import (
    CLEAN,
    MEANING,
    NOISES,
    SNR_DB,
    Condition,
    conditions,
    noise_name,
)
from calibrate.experiments.robustness.recordings import (
    cut,
    degrade,
    draw_babble,
    read_recording,
    spoken_ranges,
    thin_out,
)
from calibrate.metrics import Probabilities, unweighted_accuracy
from calibrate.progress import progress_bar
from calibrate.report import Picture, Report, Table, points, rounded
from calibrate.splits import Split
from calibrate.trained import chunks, open_trained
from calibrate.workspace import Workspace
from edge.audio import Waveform
from edge.errors import one_of

MEAN = "mean"
"""Stands for the mean over the corpora."""
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
class Figures:
    """How well a model recognises the emotions of one corpus under one condition."""

    ua: float
    """Within the boundaries of the clean recording."""
    chain_ua: float
    """Within the boundaries that the segmenter finds, what it misses counting as wrong."""
    missed: float
    """Share of the utterances in which the segmenter finds nobody."""
    utterances: int


FiguresTable = Mapping[str, Mapping[str, Figures]]
"""Corpus to condition to figures."""


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
    encoder: str | None,
    clips: int | None,
    seed: int,
) -> Report:
    """Measure a run or a bundle under all conditions.

    Args:
        clips: most utterances of each speaker; None: all.
        seed: of noise, rooms and babble.
    """
    held_out = one_of("split", split, HELD_OUT)
    model = open_trained(workspace, folder, encoder)
    recipe = model.recipe(recipe_path)
    parts = read_parts(recipe, workspace.data)
    part = thin_out(require_speakers(parts, held_out), clips, seed)
    babble = draw_babble(parts["train"], BABBLE_CLIPS, seed)
    table = robustness(model.probabilities, part, conditions(babble, seed), workspace.threads)
    speakers = set(part.speakers.tolist())
    known = f", {len(known)} of {len(speakers)} trained on" if (known := speakers.intersection(model.speakers)) else ""
    some = f"at most {clips} utterances of each, drawn evenly over the labels" if clips else "all their utterances"
    protocol = (
        f"{split} speakers of {recipe.splits.origin}{known}, {some}; {model.name}; {PROTOCOL}; {MEANING}; seed {seed}"
    )
    return robustness_report(table, protocol)


def robustness(answer: Answer, part: Part, under: Mapping[str, Condition], threads: int = 1) -> FiguresTable:
    """Return corpus → condition → figures, for utterances of speakers never trained on."""
    predicted: dict[str, list[Predicted]] = {name: [] for name in under}
    with progress_bar() as progress, ThreadPoolExecutor(threads) as pool:
        task = progress.add_task("listening", total=len(part.paths) * len(under))
        for rows in chunks(len(part.paths)):
            utterances = [part.utterances[row] for row in rows]
            recordings = list(pool.map(lambda each: read_recording(each.speaker, each.path), utterances))
            for name, condition in under.items():
                degraded = list(pool.map(lambda recording, how=condition: degrade(recording, how), recordings))
                found = list(pool.map(spoken_ranges, degraded))
                clean = [recording.ranges for recording in recordings]
                predicted[name].append(_predict(answer, degraded, clean, found))
                progress.advance(task, len(rows))
    columns = {name: Predicted(*map(np.concatenate, zip(*found, strict=True))) for name, found in predicted.items()}
    return {
        str(corpus): {
            name: Figures(
                ua=unweighted_accuracy(column.encoder[rows], part.labels[rows]),
                chain_ua=unweighted_accuracy(column.chain[rows], part.labels[rows]),
                missed=float((column.chain[rows] == MISSED).mean()),
                utterances=int(rows.sum()),
            )
            for name, column in columns.items()
        }
        for corpus in dict.fromkeys(part.corpora.tolist())
        if (rows := part.corpora == corpus).any()
    }


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


def robustness_report(table: FiguresTable, protocol: str) -> Report:
    """Return the report that is ``robustness.md``, ``.json`` and ``.png``."""
    whole = with_mean(table)
    columns = ("condition", *whole)
    hearing, chain = [], []
    for name in whole[MEAN]:
        pairs = [(row[name], row[CLEAN]) for row in whole.values()]
        hearing.append([name, *(f"{found.ua:.3f} ({points(found.ua - clean.ua)})" for found, clean in pairs)])
        chain.append(
            [
                name,
                *(
                    f"{found.chain_ua:.3f} ({points(found.chain_ua - clean.chain_ua)}), {found.missed:.1%} missed"
                    for found, clean in pairs
                ),
            ]
        )
    return Report(
        ("robustness.md", "robustness.json"),
        "Robustness",
        protocol,
        {"corpora": {corpus: _content_of(row) for corpus, row in whole.items()}},
        [
            Table(columns, hearing, "hearing: UA (points lost)"),
            Table(columns, chain, "whole chain"),
            Picture("robustness.png", "UA by condition", partial(_draw, table=table), (4.2 * len(table), 7)),
        ],
    )


def _content_of(row: Mapping[str, Figures]) -> dict[str, object]:
    """Return condition to figures, with drops against the clean recording."""
    clean = row[CLEAN]
    return rounded(
        {
            name: {
                "utterances": found.utterances,
                "ua": found.ua,
                "drop": clean.ua - found.ua,
                "chain_ua": found.chain_ua,
                "chain_drop": clean.chain_ua - found.chain_ua,
                "missed": found.missed,
            }
            for name, found in row.items()
        }
    )


def with_mean(table: FiguresTable) -> dict[str, dict[str, Figures]]:
    """Return the table with the mean over its corpora, each weighing the same."""
    rows = {corpus: dict(row) for corpus, row in table.items()}
    conditions = next(iter(rows.values()))
    return rows | {MEAN: {name: _mean([row[name] for row in rows.values()]) for name in conditions}}


def _mean(corpora: Sequence[Figures]) -> Figures:
    return Figures(
        ua=float(np.mean([found.ua for found in corpora])),
        chain_ua=float(np.mean([found.chain_ua for found in corpora])),
        missed=float(np.mean([found.missed for found in corpora])),
        utterances=sum(found.utterances for found in corpora),
    )


def _draw(figure: Canvas, table: FiguresTable) -> None:
    """Draw UA against the noise, and as bars under the other conditions: a column a corpus."""
    axes = figure.subplots(2, len(table), squeeze=False, sharey=True)
    noisy = {noise_name(colour, snr_db) for colour in NOISES for snr_db in SNR_DB}
    for column, (corpus, row) in enumerate(table.items()):
        noise, rest = axes[:, column]
        for index, colour in enumerate(NOISES):
            series = [row[CLEAN], *(row[noise_name(colour, snr_db)] for snr_db in SNR_DB)]
            noise.plot([found.ua for found in series], f"C{index}.-", label=colour)
            noise.plot([found.chain_ua for found in series], f"C{index}.:")
        noise.set_xticks(range(len(SNR_DB) + 1), [CLEAN, *(f"{snr_db} dB" for snr_db in SNR_DB)])
        noise.set_title(corpus)
        others = [name for name in row if name not in noisy]
        places = np.arange(len(others))
        rest.bar(places - 0.2, [row[name].ua for name in others], 0.4, label="hearing")
        rest.bar(places + 0.2, [row[name].chain_ua for name in others], 0.4, label="whole chain", hatch="..", alpha=0.5)
        rest.set_xticks(places, others, rotation=30, ha="right")
    axes[0][0].set_ylim(0, 1)
    axes[0][0].set_ylabel("UA, dotted: whole chain")
    axes[1][0].set_ylabel("UA")
    axes[0][0].legend(loc="lower left")
    axes[1][0].legend(loc="lower left")
