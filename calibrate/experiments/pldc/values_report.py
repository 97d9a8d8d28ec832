"""The part of the report that is about continuous values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from calibrate.bootstrap import Estimate
from calibrate.experiments.pldc.continuous import CHANGES, SHIFT_MEANING, EstimatedValues
from calibrate.report import Note, Table, interval, points
from calibrate.report.blocks import Block
from calibrate.report.cells import Cell

VALUES_PROTOCOL = (
    "Values: clamped to their ranges; enrolled: profile and statistics from up to 16 random clips of the speaker, at "
    "most half, tested on the others; transductive: from the very clips that are tested, which no device can do. "
    "O-CCC: concordance over all clips and draws of a corpus, A-CCC: mean over speakers of their own"
)


def value_blocks(found: EstimatedValues) -> list[Block]:
    """Return a table for each setting and evaluation, a row each value, corpus and change."""
    if not found:
        return []
    blocks: list[Block] = []
    for title in dict.fromkeys((case.setting, case.evaluation) for case in found):
        rows: list[Sequence[Cell]] = []
        for case, estimated in found.items():
            if (case.setting, case.evaluation) != title:
                continue
            none = estimated.concordances("none")
            for change in CHANGES:
                overall, average = estimated.concordances(change)
                gains = (_gain(overall, none[0]), _gain(average, none[1])) if change != "none" else (None, None)
                rows.append((case.value, case.corpus, change, _shown(overall), gains[0], _shown(average), gains[1]))
        columns = ("value", "corpus", "shift", "O-CCC", "gain", "A-CCC", "gain")
        caption = "gain: over no shift, in hundredths; in brackets 95 % intervals over speakers"
        blocks.append(Table(columns, rows, f"Values, {title[0]}, {title[1]}", caption))
    blocks.append(Note("\n".join(f"- {name}: {text}" for name, text in SHIFT_MEANING.items()), medium="file"))
    return blocks


def value_content(found: EstimatedValues) -> list[dict[str, Any]]:
    """Return all figures as JSON values."""
    content = []
    for case, estimated in found.items():
        for change in CHANGES:
            overall, average = estimated.concordances(change)
            content.append({
                "setting": case.setting, "evaluation": case.evaluation, "value": case.value, "corpus": case.corpus,
                "shift": change, "o_ccc": overall.values(), "a_ccc": average and average.values(),
            })  # fmt: skip
    return content


def _shown(estimate: Estimate | None) -> Cell:
    if estimate is None:
        return None
    return estimate.value if estimate.interval is None else interval(estimate.value, *estimate.interval)


def _gain(estimate: Estimate | None, over: Estimate | None) -> Cell:
    if estimate is None or over is None:
        return None
    gain = estimate - over
    return points(gain.value, *(gain.interval or ()))
