"""The report on who speaks: tables as Markdown, plots, and all figures as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from calibrate.speakers.trials import DURATIONS_S
from calibrate.speakers.verification import COUNTS, HOUSEHOLD, HOUSEHOLD_CLIPS, TURNS, Figure

mpl.use("Agg")
from matplotlib import pyplot as plt

Figures = Mapping[Figure, float]

NAME = "verification"
CONDITIONS = {
    "GE2E cosine": "GE2E alone, cosine",
    "cosine": "voiceprint, cosine",
    "calibrated": "calibrated",
    "same gender": "calibrated, one gender",
    "neutral to neutral": "calibrated, enrolled neutral, tests neutral",
    "neutral to lively": "calibrated, enrolled neutral, tests lively",
}
"""Of the equal error rate, as tables call them."""
OUTCOMES = {"attributed": "attributed", "right of attributed": "right", "strangers accepted": "strangers"}
"""Figure to heading."""
MEANING = "attributed: got a name; right: of these, the right name; strangers: utterances of theirs that got a name"
CONVERSATIONS = ("corpus", "talks", "may talk", *OUTCOMES.values())
TALKS = {"one voice": "one voice", "in turns": "in turns"}
BOUNDS = {"household list": "household", "open set": "anyone"}


def write_verification(out: Path, figures: Figures, protocol: str) -> None:
    """Write ``verification.md``, ``.json`` and ``.png`` to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.md").write_text(markdown(figures, protocol), encoding="utf-8")
    (out / f"{NAME}.json").write_text(json.dumps(as_json(figures, protocol), indent=2) + "\n", encoding="utf-8")
    draw(out / f"{NAME}.png", figures)


def as_json(figures: Figures, protocol: str) -> dict[str, Any]:
    """Return corpus to figure to condition to value, rounded to four digits; null where there were no trials."""
    corpora: dict[str, dict[str, dict[str, float | None]]] = {}
    for (corpus, what, *condition), value in figures.items():
        found = corpora.setdefault(corpus, {}).setdefault(what, {})
        found[", ".join(condition)] = None if math.isnan(value) else round(value, 4)
    return {"protocol": protocol, "corpora": corpora}


def markdown(figures: Figures, protocol: str) -> str:
    """Return the report as Markdown."""
    corpora = corpora_of(figures)
    lines = ["# Who speaks", "", f"Protocol: {protocol}.", "", "## Equal error rate, four enrolment clips", ""]
    lines += _table(["whole clips as tests", *corpora], error_rows(figures))
    lines += [
        "",
        f"## Conversations of {TURNS} utterances, household of {HOUSEHOLD}, {HOUSEHOLD_CLIPS} clips each",
    ]
    lines += [
        "",
        f"Shares of all utterances; {MEANING}.",
        "",
        *_table(CONVERSATIONS, conversation_rows(figures)),
    ]
    lines += ["", "![equal error rate and identification by duration](verification.png)"]
    for corpus in corpora:
        lines += ["", f"## {corpus}", "", "Equal error rate, calibrated, by enrolment clips and duration of the test:"]
        lines += ["", *_by_duration(lambda *timed, corpus=corpus: _cell(figures, (corpus, "EER", *timed)))]
        lines += ["", f"One utterance out of the blue, household of {HOUSEHOLD}: {' / '.join(OUTCOMES.values())}.", ""]
        lines += _by_duration(lambda *timed, corpus=corpus: _outcomes(figures, corpus, timed))
    return "\n".join(lines) + "\n"


def error_rows(figures: Figures) -> list[list[str]]:
    """Return the equal error rates, a row a condition: its name, then a cell a corpus."""
    corpora = corpora_of(figures)
    rows = [(name, [(corpus, "EER", condition) for corpus in corpora]) for condition, name in CONDITIONS.items()]
    return [
        [name, *(_cell(figures, key) for key in keys)] for name, keys in rows if any(key in figures for key in keys)
    ]


def conversation_rows(figures: Figures) -> list[list[str]]:
    """Return the conversations, a row a corpus and kind: corpus, who talks, who may, then a cell an outcome."""
    return [
        [corpus, talk, bound, *(_cell(figures, (corpus, what, of_talk, of_bound)) for what in OUTCOMES)]
        for corpus in corpora_of(figures)
        for of_talk, talk in TALKS.items()
        for of_bound, bound in BOUNDS.items()
    ]


def corpora_of(figures: Figures) -> list[str]:
    """Return the corpora that have figures."""
    return list(dict.fromkeys(corpus for corpus, *_ in figures))


def draw(path: Path, figures: Figures) -> None:
    """Draw equal error rate and identification against duration: a column a corpus, a line a number of clips."""
    corpora = corpora_of(figures)
    picture, axes = plt.subplots(
        2, len(corpora), figsize=(4.2 * len(corpora), 6.8), layout="constrained", squeeze=False, sharey="row"
    )
    for column, corpus in enumerate(corpora):
        errors, shares = axes[:, column]
        for index, count in enumerate(COUNTS):
            style = {"color": f"C{index}", "marker": "."}
            errors.plot(DURATIONS_S, _line(figures, corpus, "EER", count), label=str(count), **style)
            shares.plot(DURATIONS_S, _line(figures, corpus, "attributed", count), **style)
            shares.plot(DURATIONS_S, _line(figures, corpus, "strangers accepted", count), linestyle=":", **style)
        errors.set_title(corpus)
        errors.set_ylim(bottom=0)
        shares.set_ylim(0, 1)
        shares.set_xlabel("test utterance, s")
        for place in (errors, shares):
            place.set_xticks(DURATIONS_S)
    axes[0][0].set_ylabel("equal error rate")
    axes[1][0].set_ylabel(f"household of {HOUSEHOLD}: attributed\ndotted: strangers accepted")
    lines = axes[0][0].get_legend_handles_labels()
    picture.legend(*lines, loc="outside upper center", ncols=len(COUNTS), title="enrolment clips")
    picture.savefig(path, dpi=120)
    plt.close(picture)


def _line(figures: Figures, corpus: str, what: str, count: int) -> list[float]:
    return [figures.get((corpus, what, *_timed(count, target_s)), math.nan) for target_s in DURATIONS_S]


def _timed(count: int, target_s: int) -> Figure:
    return f"{count} clips", f"{target_s} s"


def _by_duration(cell: Callable[..., str]) -> list[str]:
    rows = [[str(count), *(cell(*_timed(count, target_s)) for target_s in DURATIONS_S)] for count in COUNTS]
    return _table(["clips", *(f"{target_s} s" for target_s in DURATIONS_S)], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _outcomes(figures: Figures, corpus: str, condition: Sequence[str]) -> str:
    return " / ".join(_cell(figures, (corpus, what, *condition)) for what in OUTCOMES)


def _cell(figures: Figures, key: Figure) -> str:
    value = figures.get(key, math.nan)
    return "-" if math.isnan(value) else f"{value:.3f}"
