"""The report on what enrolment gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from calibrate.bootstrap import mean_interval
from calibrate.experiments.enrolment import CONDITIONS, Condition, Gain
from calibrate.report import Note, Picture, Report, Table, legend_below, points
from calibrate.report.blocks import Block
from calibrate.report.cells import Cell

MUCH = 0.03
"""UA whose loss the report counts."""


def enrolment_report(gains: Sequence[Gain], speakers: dict[str, float], protocol: str) -> Report:
    """Return the report that is ``adaptation.md``, ``.json`` and ``.png``.

    Args:
        gains: UA by corpus, condition and clips.
        speakers: what 8 unlabelled clips gain each in UA.
        protocol: how the figures came about.
    """
    corpora = list(dict.fromkeys(gain.corpus for gain in gains))
    counts = sorted({gain.clips for gain in gains})
    groups = {
        (corpus, condition): sorted(_of(gains, corpus, condition), key=lambda gain: gain.clips)
        for corpus, condition in dict.fromkeys((gain.corpus, gain.condition) for gain in gains)
    }
    columns = ("corpus", "enrolment", *map(str, counts))
    both: list[Sequence[Cell]] = []
    profiles: list[Sequence[Cell]] = []
    for names, row in groups.items():
        both.append((*names, *(f"{gain.ua['profile']:.3f} ({gain.ua['naive']:.3f})" for gain in row)))
        profiles.append((*names, *(gain.ua["profile"] for gain in row)))
    blocks: list[Block] = [
        Table(columns, both, caption="in brackets naive mean subtraction", medium="file"),
        Table(columns, profiles, medium="terminal"),
    ]
    blocks += _about(speakers)
    blocks.append(Picture("adaptation.png", "UA", partial(_draw, gains=gains), (4.2 * len(corpora), 3.8)))
    content = {"gains": [asdict(gain) for gain in gains], "speaker_gains": speakers}
    return Report(("adaptation.md", "adaptation.json"), "UA by enrolment clips", protocol, content, blocks)


def _about(speakers: Mapping[str, float]) -> list[Note]:
    """Return what 8 unlabelled clips gain the speakers, in words."""
    if not speakers:
        return []
    gains = np.array(list(speakers.values()))
    mean = points(float(gains.mean()), *mean_interval(gains))
    name, least = min(speakers.items(), key=lambda item: item[1])
    return [
        Note(f"8 unlabelled clips gain a speaker {mean} points of UA, 95 % over {len(gains)} speakers."),
        Note(
            f"With 8 unlabelled clips {(gains < -MUCH).sum()} of {len(gains)} speakers lose more than 3 points of UA; "
            f"the least gain is {points(least)} points, {name}.",
            medium="file",
        ),
    ]


def _of(gains: Sequence[Gain], corpus: str, condition: Condition) -> list[Gain]:
    return [gain for gain in gains if (gain.corpus, gain.condition) == (corpus, condition)]


def _draw(figure: Figure, gains: Sequence[Gain]) -> None:
    """Draw UA against the number of clips: a panel a corpus, a line a kind of enrolment, dots for naive."""
    corpora = list(dict.fromkeys(gain.corpus for gain in gains))
    ticks = sorted({gain.clips for gain in gains})
    panels = figure.subplots(1, len(corpora), squeeze=False, sharey=True)[0]
    for axes, corpus in zip(panels, corpora, strict=True):
        for index, condition in enumerate(CONDITIONS):
            row = _of(gains, corpus, condition)
            if not row:
                continue
            counts = [gain.clips for gain in row]
            profile = np.array([gain.ua["profile"] for gain in row])
            bounds = np.array([gain.interval or (ua, ua) for gain, ua in zip(row, profile, strict=True)]).T
            axes.errorbar(counts, profile, np.abs(bounds - profile), fmt=f"C{index}.-", elinewidth=0.7, label=condition)
            axes.plot(counts, [gain.ua["naive"] for gain in row], f"C{index}:", linewidth=1)
        axes.set_xscale("symlog", base=2, linthresh=1)
        axes.set_xticks(ticks, list(map(str, ticks)))
        axes.set_title(corpus)
        axes.set_xlabel("enrolment clips")
    bars = "\nbars: 95 % over speakers" if any(gain.interval for gain in gains) else ""
    panels[0].set_ylabel(f"UA, dotted: naive mean subtraction{bars}")
    legend_below(figure, panels)
