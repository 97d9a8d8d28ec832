"""The report on who speaks: error rates, conversations, and both by enrolment clips and duration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure as Canvas

from calibrate.experiments.household_setup import HOUSEHOLD, HOUSEHOLD_CLIPS, TURNS
from calibrate.experiments.verification.figures import Figure
from calibrate.report import Picture, Report, Table, rounded
from calibrate.report.blocks import Block
from calibrate.speakers.fitting import COUNTS
from calibrate.speakers.trials import DURATIONS_S

Figures = Mapping[Figure, float]

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


def verification_report(figures: Figures, protocol: str, save_verifier: Callable[[Path], object]) -> Report:
    """Return the report that is ``verification.md``, ``.json`` and ``.png``, and the verifier along with it.

    Args:
        figures: by corpus, what and condition; not a number where there were no trials.
        protocol: how they came about.
        save_verifier: writes the verifier to a folder.
    """
    corpora = corpora_of(figures)
    talks = f"household of {HOUSEHOLD}, conversations"
    enrolled = f"{TURNS} utterances each, {HOUSEHOLD_CLIPS} enrolment clips; shares of all utterances; {MEANING}"
    draw = partial(_draw, figures=figures)
    blocks: list[Block] = [
        Table(("equal error rate, 4 clips", *corpora), error_rows(figures), "Equal error rate, whole clips as tests"),
        Table(CONVERSATIONS, conversation_rows(figures), talks, enrolled),
        Picture("verification.png", "equal error rate and identification by duration", draw, (4.2 * len(corpora), 6.8)),
    ]
    for corpus in corpora:
        blocks += [
            _by_duration(
                corpus,
                "equal error rate, calibrated, by enrolment clips and duration of the test",
                lambda *timed, corpus=corpus: _cell(figures, (corpus, "EER", *timed)),
            ),
            _by_duration(
                "",
                f"one utterance out of the blue, household of {HOUSEHOLD}: {' / '.join(OUTCOMES.values())}",
                lambda *timed, corpus=corpus: _outcomes(figures, corpus, timed),
            ),
        ]
    return Report(
        ("verification.md", "verification.json"),
        "Who speaks",
        protocol,
        rounded({"corpora": _content_of(figures)}),
        blocks,
        attachments=(save_verifier,),
        closing="report and verifier written to {out}",
    )


def _content_of(figures: Figures) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return corpus to figure to condition to value; None where there were no trials."""
    corpora: dict[str, dict[str, dict[str, float | None]]] = {}
    for (corpus, what, *condition), value in figures.items():
        found = corpora.setdefault(corpus, {}).setdefault(what, {})
        found[", ".join(condition)] = None if math.isnan(value) else value
    return corpora


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


def _draw(canvas: Canvas, figures: Figures) -> None:
    """Draw equal error rate and identification against duration: a column a corpus, a line a number of clips."""
    corpora = corpora_of(figures)
    axes = canvas.subplots(2, len(corpora), squeeze=False, sharey="row")
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
    canvas.legend(*lines, loc="outside upper center", ncols=len(COUNTS), title="enrolment clips")


def _line(figures: Figures, corpus: str, what: str, count: int) -> list[float]:
    return [figures.get((corpus, what, *_timed(count, target_s)), math.nan) for target_s in DURATIONS_S]


def _timed(count: int, target_s: int) -> Figure:
    return f"{count} clips", f"{target_s} s"


def _by_duration(title: str, caption: str, cell: Callable[..., str]) -> Table:
    """Return a row a number of clips, a cell a duration."""
    rows = [[str(count), *(cell(*_timed(count, target_s)) for target_s in DURATIONS_S)] for count in COUNTS]
    return Table(("clips", *(f"{target_s} s" for target_s in DURATIONS_S)), rows, title, caption, medium="file")


def _outcomes(figures: Figures, corpus: str, condition: Sequence[str]) -> str:
    return " / ".join(_cell(figures, (corpus, what, *condition)) for what in OUTCOMES)


def _cell(figures: Figures, key: Figure) -> str:
    value = figures.get(key, math.nan)
    return "-" if math.isnan(value) else f"{value:.3f}"
