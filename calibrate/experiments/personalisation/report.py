"""The report on telling encoders who speaks, beside calibration to people and rooms."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from calibrate.bootstrap import Estimate
from calibrate.experiments.personalisation.encoders import TOLD_BY, VANILLA
from calibrate.experiments.personalisation.findings import Findings
from calibrate.experiments.personalisation.gap import ENROLLED, SEEN_SHARE, Gap
from calibrate.experiments.pldc.categorical import OFFSETS, PRIORS, Condition
from calibrate.experiments.pldc.figures import MEAN, Case, Measure
from calibrate.recipe import Recipe
from calibrate.report import Note, Picture, Report, Table, interval, points
from calibrate.report.blocks import Block
from calibrate.report.cells import Cell
from calibrate.report.legend import legend_below
from calibrate.streams import KINDS, Kind

PLAIN: Condition = ("none", "none")
BOTH: Condition = ("person, room", "none")
DEVICE: Condition = ("person, room", "EM")
SHOWN: list[Condition] = [PLAIN, ("none", "EM"), ("room", "none"), BOTH, DEVICE]


def personalisation_report(recipe: Recipe, found: Findings, seeds: int, encoder: str) -> Report:
    """Return the report that is ``personalisation.md``, ``.csv`` and ``.json``."""
    chosen = recipe.pretraining
    rounds = "; ".join(f"{each.clusters} clusters of {each.targets}, {each.epochs} epochs" for each in chosen.rounds)
    layers = ", ".join(map(str, recipe.encoder.pooled))
    protocol = (
        f"{encoder.rstrip('/').rpartition('/')[2]}, layers {layers}; {seeds} seeds, of the speakers and the trainings; "
        f"{len(found.tested)} speakers tested in all, of each corpus three in ten a seed, whom neither encoder nor "
        f"head learned from; clusters are fitted to everyone's speech. Pre-training: {rounds}, peak "
        f"{chosen.learning_rate:g}. New speakers are told by {TOLD_BY} unlabelled recordings; those are not tested. "
        "Then as in affectd-calibrate pldc: up to 16 unlabelled clips enrol, in balance or with one label in excess, "
        "all others are tested and weigh as the enrolment was drawn; answers know the corpus's labels only; "
        "temperature 1. Means over draws, speakers, then corpora; in brackets 95 % intervals over speakers"
    )
    names = list(dict.fromkeys(case.setting for case in found.scores.scores))
    blocks: list[Block] = [
        *(_scores(found, names, kind, measure) for kind in KINDS for measure in _measures(kind)),
        _gains(found, names),
        Table(
            ("encoder", "masked loss"),
            [[name, f"{np.mean(losses):.3f}"] for name, losses in found.losses.items()],
            title="Masked loss of new speakers",
            caption="mean over speakers and seeds, on recordings that they are not known by: not told (TAPT), told the "
            "mean of all known, of those who are like them, or what a few steps on their own recordings make of it",
        ),
        _gap_table(found.gaps),
        Picture("gap.png", "UA on people learned from and on others, by their number",
                partial(_draw_gaps, gaps=found.gaps), (6, 4)),
        Note("\n".join(f"- {name}: {text}" for name, text in {**OFFSETS, **{f'prior {k}': v for k, v in PRIORS.items()}}
             .items()), medium="file"),
    ]  # fmt: skip
    rows = [
        [name, kind, measure, offset, prior, *_cells(found, name, kind, measure, (offset, prior))]
        for name in names for kind in KINDS for measure in ("wa", "ua", "loss") for offset, prior in _conditions(found)
    ]  # fmt: skip
    sheet = Table(("encoder", "labels", "measure", "offset", "prior", "value", "low", "high"), rows)
    content = {
        "seeds": seeds,
        "speakers": sorted(found.tested),
        "masked_loss": {name: list(losses) for name, losses in found.losses.items()},
        "gap": [vars(gap) for gap in found.gaps],
        "rows": [dict(zip(sheet.columns, row, strict=True)) for row in rows],
    }
    return Report(
        files=("personalisation.md", "personalisation.csv", "personalisation.json"),
        title=f"{recipe.name}: who speaks, told to the encoder or taken out after it", protocol=protocol,
        content=content, blocks=blocks, sheet=sheet,
    )  # fmt: skip


def _measures(kind: Kind) -> tuple[Measure, ...]:
    """UA says little of a speaker who shows one label most of the time, WA nothing more of one in balance."""
    return ("ua",) if kind == "balanced" else ("wa", "ua")


def _conditions(found: Findings) -> list[Condition]:
    return found.scores.conditions()


def _estimate(found: Findings, name: str, kind: Kind, measure: Measure, condition: Condition) -> Estimate:
    return found.scores.estimate(Case(name, "own labels", MEAN, kind), condition, measure)


def _cells(found: Findings, name: str, kind: Kind, measure: Measure, condition: Condition) -> list[Cell]:
    estimate = _estimate(found, name, kind, measure, condition)
    low, high = estimate.interval or (None, None)
    return [estimate.value, low, high]


def _scores(found: Findings, names: list[str], kind: Kind, measure: Measure) -> Table:
    columns = ["encoder", *(_said(condition) for condition in SHOWN)]
    rows: list[list[Cell]] = []
    for name in names:
        estimates = [_estimate(found, name, kind, measure, condition) for condition in SHOWN]
        rows.append([name, *(_share(each) for each in estimates)])
    return Table(columns, rows, title=f"{measure.upper()}, labels {kind}")


def _gains(found: Findings, names: list[str]) -> Table:
    """What each encoder adds to the published one, without and with calibration, in points of UA."""
    rows: list[list[Cell]] = []
    for name in names:
        if name == VANILLA:
            continue
        cells: list[Cell] = [name]
        for condition in (PLAIN, ("room", "none"), BOTH):
            mine, plain = (_estimate(found, each, "balanced", "ua", condition) for each in (name, VANILLA))
            cells.append(_points(mine - plain))
        rows.append(cells)
    columns = ("encoder", "as they are", "room", "person, room")
    return Table(
        columns, rows, title="Points of UA over vanilla, labels balanced", caption="the same speakers and draws"
    )


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.3f}" if estimate.interval is None else interval(estimate.value, *estimate.interval)


def _points(estimate: Estimate) -> str:
    return points(estimate.value) if estimate.interval is None else points(estimate.value, *estimate.interval)


def _said(condition: Condition) -> str:
    offset, prior = condition
    offset = "as they are" if offset == "none" else offset
    return offset if prior == "none" else f"{offset}, prior"


def _gap_table(gaps: list[Gap]) -> Table:
    rows: list[list[Cell]] = []
    for count in sorted({gap.speakers for gap in gaps}):
        mine = [gap for gap in gaps if gap.speakers == count]
        seen, unseen, enrolled = (
            float(np.mean([getattr(gap, name) for gap in mine])) for name in ("seen", "unseen", "enrolled")
        )
        shown = [f"{seen:.3f}", f"{unseen:.3f}", f"{100 * (seen - unseen):+.1f}", f"{enrolled:.3f}"]
        rows.append([count, len(mine), *shown, f"{100 * (enrolled - unseen):+.1f}"])
    columns = ("speakers", "seeds", "UA seen", "UA unseen", "gap", "UA unseen, enrolled", "of it closed")
    return Table(columns, rows, title="The personalisation gap", caption=f"vanilla encoder; seen: the {SEEN_SHARE:.0%} "
                 f"of recordings kept back of those learned from; enrolled: by {ENROLLED} unlabelled recordings, in "
                 "their room; gaps in points; means over speakers, then seeds")  # fmt: skip


def _draw_gaps(canvas: Figure, gaps: list[Gap]) -> None:
    axes = canvas.subplots()
    counts = sorted({gap.speakers for gap in gaps})
    for name, label in (("seen", "learned from"), ("unseen", "not met"), ("enrolled", "not met, enrolled")):
        means = [np.mean([getattr(gap, name) for gap in gaps if gap.speakers == count]) for count in counts]
        axes.plot(counts, means, marker="o", label=label)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("speakers learned from")
    axes.set_ylabel("UA, mean over speakers")
    legend_below(canvas, [axes])
