"""The report on generalisation: one table a recipe, and what explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from calibrate.bootstrap import Estimate
from calibrate.experiments.enrolment import LEAST_CLIPS, Gain, Method
from calibrate.experiments.enrolment_report import MUCH
from calibrate.experiments.generalisation.figures import SURE, Everyday, Row
from calibrate.recipe import Recipe
from calibrate.report import Note, Picture, Report, Table, interval, legend_below, points, rounded, spread
from calibrate.report.blocks import Block
from calibrate.report.cells import Cell
from calibrate.streams import LENGTH, SHARES

COUNTS = (0, 1, 2, 4, 8, 16, 32, 64)
"""Utterances that a source has sent before."""
ENROLLED = 8
"""Clips that a speaker of a fold enrols with."""
COLUMNS = (
    "left out", "as", "UA", "room", "gain", "UA, any label", "room", "ECE", "room", "sure", "right", "sure, room",
    "right, room",
)  # fmt: skip
PROTOCOL = (
    "left out: for each corpus in turn, trained on every speaker of the others; temperature fitted on the "
    "answers, in a room, to each of the other corpora by the model of all but that one; where training stops by "
    "validation, an eighth of the speakers that train. folds: every speaker of the corpora that train is tested "
    "by a model that was trained without them; temperature 1. What is spoken in each file; torch. files: each "
    f"utterance alone. balanced: streams of up to {LENGTH} utterances of a corpus, speakers mixed in random "
    "order, every label as often as any other; half, four fifths: one label, each in turn, has a share of "
    f"{SHARES['half']} or {SHARES['four fifths']}, the others share the rest; each stream a room of its own, "
    "estimated from its beginning. UA is the mean recall over the labels that the corpus has, answers "
    "restricted to them as far as they were taught (any label: not restricted), mean over streams. ECE: "
    f"expected calibration error, 15 bins; sure: share of answers at {SURE:.2f} or more, right: how many of "
    "these are; all three of any label. In brackets 95 % intervals over speakers; gain: of the room, in points"
)


@dataclass(frozen=True)
class Findings:
    """All that was measured."""

    left_out: list[Row]
    untaught: dict[str, list[str]]
    """Labels of a corpus that nobody trained on where it was left out."""
    taught_by: dict[str, list[str]]
    """Corpora trained on where a corpus was left out."""
    temperatures: Mapping[str, list[float]]
    """By corpus left out, a value a training."""
    speakers: dict[str, int]
    cold_start: dict[str, dict[int, float]]
    """UA by corpus and number of utterances."""
    everyday: list[Everyday]
    folds: list[Row]
    enrolment: list[Gain]
    speaker_gains: dict[str, float]
    """UA that each speaker of the folds gains by unlabelled clips."""


def generalisation_report(recipe: Recipe, found: Findings, seeds: int, streams: int, folds: int) -> Report:
    """Return the report that is ``generalisation.md``, ``.json`` and ``cold-start.png``.

    Args:
        recipe: that was trained by.
        found: all that was measured.
        seeds: trainings of each model.
        streams: of each kind.
        folds: over the speakers.
    """
    protocol = (
        f"{recipe.name}, seeds {recipe.seed} to {recipe.seed + seeds - 1}, {streams} streams of each kind and label, "
        f"{folds} folds over {sum(found.speakers[name] for name in _corpora(found.folds))} speakers. {PROTOCOL}"
    )
    title = f"{recipe.name}: corpora and speakers left out"
    blocks: list[Block] = [*_tables(title, found)]
    blocks += [Note(text) for text in _notes(found)]
    if found.everyday:
        blocks.append(_everyday_table(found.everyday))
    blocks += [_cold_table(found.cold_start), _cold_picture(found.cold_start)]
    blocks += [_enrolment_table(found.enrolment)] if found.enrolment else []
    blocks.append(Note(_losers(found.speaker_gains)))
    files = ("generalisation.md", "generalisation.json")
    return Report(files, title, protocol, rounded(_content(found)), blocks)


def _corpora(rows: Sequence[Row]) -> list[str]:
    return [name for name in dict.fromkeys(row.corpus for row in rows) if name != "mean"]


def _tables(title: str, found: Findings) -> list[Table]:
    """Return the table for files, with intervals, and the one for the terminal."""
    named = [(row.corpus, row) for row in found.left_out] + [(f"folds: {row.corpus}", row) for row in found.folds]
    return [
        Table(COLUMNS, [_cells(name, row, intervals=True) for name, row in named], medium="file"),
        Table(COLUMNS, [_cells(name, row, intervals=False) for name, row in named], title, medium="terminal"),
    ]


def _cells(name: str, row: Row, intervals: bool) -> Sequence[Cell]:
    shown = _with_interval if intervals else _alone
    without, room = row.without, row.room
    if room is None or row.gain is None:
        return (
            name, row.kind, shown(without.ua), None, None, without.any_label.value, None, without.ece, None,
            without.sure, without.right, None, None,
        )  # fmt: skip
    return (
        name, row.kind, shown(without.ua), shown(room.ua), _points(row.gain, intervals), without.any_label.value,
        room.any_label.value, without.ece, room.ece, without.sure, without.right, room.sure, room.right,
    )  # fmt: skip


def _with_interval(estimate: Estimate) -> Cell:
    return estimate.value if estimate.interval is None else interval(estimate.value, *estimate.interval)


def _alone(estimate: Estimate) -> Cell:
    return estimate.value


def _points(gain: Estimate, intervals: bool) -> str:
    return points(gain.value, *(gain.interval or ()) if intervals else ())


def _notes(found: Findings) -> list[str]:
    """Say who taught whom, and what nobody taught."""
    texts = []
    for corpus, others in found.taught_by.items():
        text = (
            f"{corpus}: {found.speakers[corpus]} speakers; taught by {', '.join(others)}; temperature "
            f"{spread(found.temperatures[corpus])}."
        )
        if found.untaught[corpus]:
            text += f" Nobody taught {', '.join(found.untaught[corpus])}: the recall of that counts as 0."
        texts.append(text)
    return ["  \n".join(texts)]


def _everyday_table(everyday: Sequence[Everyday]) -> Table:
    rows: list[Sequence[Cell]] = []
    for each in everyday:
        shares, surely = zip(*[side for side in (each.without, each.room) if side], strict=True)
        room = (_with_interval(shares[1]), surely[1]) if len(shares) > 1 else (None, None)
        rows.append((each.corpus, each.kind, each.speakers, _with_interval(shares[0]), room[0], surely[0], room[1]))
    label = everyday[0].label
    columns = ("corpus", "as", "speakers", label, f"{label}, room", "surely else", "surely else, room")
    caption = (
        f"shares of answers of a model of all corpora that train: {label}, which all of it is, and something else at "
        f"{SURE:.2f} or more; any label may be answered; one stream: all utterances in random order"
    )
    return Table(columns, rows, "Everyday speech", caption)


def _cold_mean(cold: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
    """Return the mean over corpora of UA by number of utterances, as far as all corpora have it."""
    shared = sorted(set.intersection(*(set(by_count) for by_count in cold.values())))
    return {count: float(np.mean([by_count[count] for by_count in cold.values()])) for count in shared}


def _cold_table(cold: Mapping[str, Mapping[int, float]]) -> Table:
    counts = sorted({count for by_count in cold.values() for count in by_count})
    lines = {**cold, "mean": _cold_mean(cold)}
    rows = [(name, *(by_count.get(count) for count in counts)) for name, by_count in lines.items()]
    caption = (
        "UA of a corpus left out against the number of its utterances from which the room was estimated, drawn at "
        "random; the same others are tested at every number"
    )
    return Table(("utterances before", *map(str, counts)), rows, "Cold start", caption)


def _cold_picture(cold: Mapping[str, Mapping[int, float]]) -> Picture:
    return Picture("cold-start.png", "UA by utterances before", partial(_draw_cold, cold=cold), (5.5, 4))


def _draw_cold(figure: Figure, cold: Mapping[str, Mapping[int, float]]) -> None:
    axes = figure.subplots()
    for name, by_count in cold.items():
        axes.plot(list(by_count), list(by_count.values()), ".-", linewidth=1, label=name)
    mean = _cold_mean(cold)
    axes.plot(list(mean), list(mean.values()), "k.-", linewidth=2, label="mean")
    axes.set_xscale("symlog", base=2, linthresh=1)
    axes.set_xticks(COUNTS, list(map(str, COUNTS)))
    axes.set_xlabel("utterances of the source before")
    axes.set_ylabel("UA of the corpus left out")
    legend_below(figure, [axes])


def _enrolment_table(gains: Sequence[Gain]) -> Table:
    """Return UA without and with enrolment, a row a corpus."""
    by = {(gain.corpus, gain.condition): gain.ua for gain in gains}
    corpora = list(dict.fromkeys(gain.corpus for gain in gains))
    shown: tuple[Method, ...] = ("none", "room", "profile")
    values = [
        [by.get((corpus, condition), {}).get(method) for condition in ("unlabelled", "one-sided") for method in shown]
        for corpus in corpora
    ]
    columns = [[value for value in column if value is not None] for column in zip(*values, strict=True)]
    means = [float(np.mean(column)) if column else None for column in columns]
    lines = zip([*corpora, "mean"], [*values, means], strict=True)
    rows: list[Sequence[Cell]] = [(name, *line) for name, line in lines]
    caption = (
        "folds; without anything, in a known room, and with the profile in it; any label may be answered; of speakers "
        f"who have {LEAST_CLIPS} such clips"
    )
    headings = ("corpus", "none", "room", f"{ENROLLED} mixed", "none", "room", f"{ENROLLED} of one emotion")
    return Table(headings, rows, f"Enrolment by {ENROLLED} unlabelled clips of the person", caption)


def _losers(speakers: Mapping[str, float]) -> str:
    if not speakers:
        return "No speaker has clips enough to enrol with."
    name, least = min(speakers.items(), key=lambda item: item[1])
    worse = sum(gain < -MUCH for gain in speakers.values())
    return (
        f"With {ENROLLED} mixed clips {worse} of {len(speakers)} speakers lose more than {100 * MUCH:.0f} points of "
        f"UA; the least gain is {points(least)} points, {name}."
    )


def _content(found: Findings) -> dict[str, Any]:
    """Return everything as JSON values."""
    return {
        "left_out": [
            row.values()
            | {"taught_by": found.taught_by.get(row.corpus, []), "untaught": found.untaught.get(row.corpus, [])}
            for row in found.left_out
        ],
        "temperatures": dict(found.temperatures),
        "speakers": found.speakers,
        "folds": [row.values() for row in found.folds],
        "everyday": [each.values() for each in found.everyday],
        "cold_start": {**found.cold_start, "mean": _cold_mean(found.cold_start)},
        "enrolment": [
            {"corpus": gain.corpus, "condition": gain.condition, "clips": gain.clips, "ua": gain.ua}
            for gain in found.enrolment
        ],
        "speaker_gains": found.speaker_gains,
    }
