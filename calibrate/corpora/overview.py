"""A corpus as one table, a row an utterance, with plots of its lengths, emotions and speakers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from calibrate.corpora import Utterance, read_corpus
from calibrate.corpora.labels import LABELS, to_label
from calibrate.corpora.lengths import measure_lengths
from calibrate.report import Picture, Report, Table, legend_below, legend_beside
from edge.spreadsheet import CsvWriter

FACTS = ("intensity", "gender", "age", "race", "ethnicity", "perceived", "valence", "arousal", "dominance", "text")
QUANTILES = {"shortest": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "longest": 1.0}
"""Of the clip lengths, as the summary names them."""
FEW_CLIPS = 5
"""Fewer have no percentiles but the median."""


def tabulate_corpus(name: str, folder: Path, strict: bool = False) -> Report:
    """Return a corpus's table, its summary and its plots: ``<corpus>.csv``, ``summary.json`` and three pictures."""
    utterances = read_corpus(name, folder, strict).utterances
    lengths_s = measure_lengths([utterance.path for utterance in utterances])
    summary = summarise(utterances, lengths_s)
    table = f"{utterances[0].corpus}.csv"
    return Report(
        ("summary.json",),
        name,
        "",
        summary,
        [
            Table(("", ""), [(key, _in_words(key, value)) for key, value in summary.items()]),
            lengths_picture(lengths_s),
            emotions_picture(utterances),
            speakers_picture(utterances),
        ],
        attachments=(lambda out: write_table(out / table, utterances, lengths_s),),
        closing=f"table written to {{out}}/{table}",
    )


def write_table(path: Path, utterances: Sequence[Utterance], lengths_s: Sequence[float | None]) -> None:
    """Write the table. The plain CSV reader reads it back: paths are relative to it, speakers the corpus's own.

    Columns: ``path,speaker,sentence,emotion``, a column of 0 and 1 for every label that occurs, what the corpus knows
    (empty where it does not), and ``length_s``.
    """
    labels = labels_of(utterances)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = CsvWriter(file)
        writer.writerow(["path", "speaker", "sentence", "emotion", *labels, *FACTS, "length_s"])
        for utterance, length_s in zip(utterances, lengths_s, strict=True):
            label = to_label(utterance.emotion, LABELS)
            writer.writerow(
                [
                    os.path.relpath(utterance.path, path.parent),
                    utterance.speaker.removeprefix(f"{utterance.corpus}-"),
                    utterance.sentence or "",
                    utterance.emotion,
                    *(int(label == column) for column in labels),
                    *(_cell(getattr(utterance, fact)) for fact in FACTS),
                    "" if length_s is None else f"{length_s:.3f}",
                ]
            )


def labels_of(utterances: Sequence[Utterance]) -> list[str]:
    """Return the labels that occur, calm and neutral kept apart, in the order of all labels."""
    found = {to_label(utterance.emotion, LABELS) for utterance in utterances}
    return [label for label in LABELS if label in found]


def summarise(utterances: Sequence[Utterance], lengths_s: Sequence[float | None]) -> dict[str, Any]:
    """Return counts of utterances and speakers by what is known of them, and quantiles of the lengths, as JSON."""
    speakers = list({utterance.speaker: utterance for utterance in utterances}.values())
    known_s = [length_s for length_s in lengths_s if length_s is not None]
    sentences = Counter(utterance.sentence or utterance.text for utterance in utterances)
    return {
        "utterances": len(utterances),
        "unreadable": len(lengths_s) - len(known_s),
        "hours": round(sum(known_s) / 3600, 3),
        "length_s": {
            name: round(float(np.quantile(known_s or [0.0], at)), 3)
            for name, at in QUANTILES.items()
            if at in (0.0, 0.5, 1.0) or len(known_s) >= FEW_CLIPS
        },
        "emotions": _counts(to_label(utterance.emotion, LABELS) for utterance in utterances),
        "intensity": _counts(_cell(utterance.intensity) for utterance in utterances),
        "sentences": len(sentences.keys() - {None}),
        "speakers": len(speakers),
        **{fact: _counts(getattr(speaker, fact) for speaker in speakers) for fact in ("gender", "race", "ethnicity")},
        "ages": sorted(speaker.age for speaker in speakers if speaker.age is not None),
    }


def _in_words(key: str, value: Any) -> str:
    """Return what the terminal shows of a value of the summary."""
    if key == "ages":
        return f"{value[0]} to {value[-1]}" if value else "unknown"
    return ", ".join(f"{name} {count}" for name, count in value.items()) if isinstance(value, dict) else str(value)


def lengths_picture(lengths_s: Sequence[float | None]) -> Picture:
    """Return the distribution of clip lengths as a picture."""
    known_s = [length_s for length_s in lengths_s if length_s is not None]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.hist(known_s, bins=50)
        if known_s:
            median_s = float(np.median(known_s))
            axes.axvline(median_s, color="black", linestyle=":", label=f"median {median_s:.2f} s")
            legend_below(figure, [axes])
        axes.set_xlabel("length, s")
        axes.set_ylabel("utterances")

    return Picture("lengths.png", "clip lengths", draw, (6, 3.5))


def emotions_picture(utterances: Sequence[Utterance]) -> Picture:
    """Return utterances by label, stacked by intensity where it is known, as a picture."""
    labels = labels_of(utterances)
    counts = Counter((to_label(utterance.emotion, LABELS), _cell(utterance.intensity)) for utterance in utterances)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        below = np.zeros(len(labels))
        for intensity in sorted({level for _, level in counts}):
            heights = np.array([counts[label, intensity] for label in labels])
            colour = None if intensity else "0.7"
            axes.bar(labels, heights, bottom=below, label=intensity or "unknown", color=colour)
            below += heights
        if any(level for _, level in counts):
            legend_below(figure, [axes], "intensity")
        axes.set_ylabel("utterances")

    return Picture("emotions.png", "emotions", draw, (6, 3.5))


def speakers_picture(utterances: Sequence[Utterance]) -> Picture:
    """Return speakers by gender, age and race as a picture: a panel for what the corpus knows, gender always."""
    speakers = list({utterance.speaker: utterance for utterance in utterances}.values())
    aged = any(speaker.age is not None for speaker in speakers)
    raced = any(speaker.race for speaker in speakers)
    panels = 1 + aged + raced

    def draw(figure: Figure) -> None:
        places = figure.subplots(1, panels, squeeze=False)[0]
        axes = iter(places)
        _draw_counts(next(axes), _counts(speaker.gender for speaker in speakers), "gender")
        if aged:
            _draw_ages(next(axes), speakers)
        if raced:
            _draw_counts(next(axes), _counts(speaker.race for speaker in speakers), "race")
        places[0].set_ylabel("speakers")

    return Picture("speakers.png", "speakers", draw, (4 * panels, 3.5))


def _draw_ages(axes: Axes, speakers: Sequence[Utterance]) -> None:
    by_gender: dict[str, list[int]] = {}
    for speaker in sorted(speakers, key=lambda speaker: speaker.gender or "unknown"):
        if speaker.age is not None:
            by_gender.setdefault(speaker.gender or "unknown", []).append(speaker.age)
    axes.hist(list(by_gender.values()), bins=range(10, 95, 5), stacked=True, label=list(by_gender))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("age, years")
    legend_beside(axes)


def _draw_counts(axes: Axes, counts: dict[str, int], title: str) -> None:
    axes.bar(list(counts), list(counts.values()))
    axes.set_title(title)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if len(counts) > 3:
        axes.tick_params(axis="x", rotation=20)


def _counts(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(str(value or "unknown") for value in values).items()))


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
