"""The part of a report that is about values: arousal and the like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from calibrate.metrics import ENOUGH_CLIPS, ValueFigures
from calibrate.report.blocks import Note, Table
from calibrate.report.cells import rounded, span
from edge.values import DERIVED

COLUMNS = ("corpus", "value", "clips", "speakers", "O-CCC", "95 %", "A-CCC", "95 %", "r", "95 %")
SHORT_COLUMNS = ("corpus", "value", "clips", "speakers", "O-CCC", "95 %", "A-CCC", "r")
CAPTION = (
    "O-CCC: concordance correlation coefficient over all clips (Lin 1989); A-CCC: its mean over the speakers with "
    f"{ENOUGH_CLIPS} clips or more; r: correlation (Pearson); 95 %: over speakers"
)

Values = Mapping[str, Mapping[str, ValueFigures]]
"""Corpus to value to its figures."""


def values_table(corpora: Values) -> Table:
    """Return the figures, a row for each value of each corpus that has it."""
    rows = [
        (
            corpus, name, row.utterances, row.speakers, row.ccc, span(row.ccc_interval), row.mean_speaker_ccc,
            span(row.mean_speaker_interval) if row.speaker_ccc else "-", row.r, span(row.r_interval),
        )
        for corpus, values in corpora.items()
        for name, row in values.items()
    ]  # fmt: skip
    return Table(COLUMNS, rows, "Values", CAPTION, medium="file")


def _short_table(corpora: Values) -> Table:
    rows = [
        (corpus, name, row.utterances, row.speakers, row.ccc, span(row.ccc_interval), row.mean_speaker_ccc, row.r)
        for corpus, values in corpora.items()
        for name, row in values.items()
    ]
    return Table(SHORT_COLUMNS, rows, "values", CAPTION, medium="terminal")


def values_blocks(corpora: Values) -> list[Table | Note]:
    """Return the table, and what a reader has to know of values that nobody annotated; nothing without values."""
    if not corpora:
        return []
    derived = dict.fromkeys(
        name for values in corpora.values() for name, row in values.items() if row.origin == DERIVED
    )
    remark = (
        f"{' and '.join(derived)}: {DERIVED}, a demonstration. Nobody rated these clips: the figures say how well the "
        "place of the label on the circle is met, and nothing about how a listener would rate them."
    )
    return [values_table(corpora), _short_table(corpora), *([Note(remark)] if derived else [])]


def values_summary(corpora: Values) -> dict[str, Any]:
    """Return the figures as JSON values, rounded to four digits."""
    return {
        corpus: {
            name: rounded(
                asdict(row)
                | {"mean_speaker_ccc": row.mean_speaker_ccc, "mean_speaker_interval": row.mean_speaker_interval}
            )
            for name, row in values.items()
        }
        for corpus, values in corpora.items()
    }
