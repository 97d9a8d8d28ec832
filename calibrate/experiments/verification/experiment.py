"""From a recipe to the report on who speaks, and to the verifier that a bundle takes in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from calibrate.dataset import read_parts
from calibrate.experiments.clip_counts import speakers_with_clips
from calibrate.experiments.enrolment import LEAST_CLIPS, PURPOSE
from calibrate.experiments.household_setup import HOUSEHOLD, HOUSEHOLD_CLIPS, TURNS
from calibrate.experiments.verification.figures import (
    Figure,
    Figures,
    Interval,
    LeaveOut,
    evaluate_voices,
)  # fmt: skip
from calibrate.progress import progress_bar
from calibrate.recipe import read_recipe
from calibrate.report import Picture, Report, Table, interval, legend_below, rounded
from calibrate.report.blocks import Block
from calibrate.report.cells import shown
from calibrate.speakers.fitting import COUNTS, fit_calibration
from calibrate.speakers.trials import DURATIONS_S, Voices, by_corpus
from calibrate.speakers.verifier import SpeakerModel
from calibrate.speakers.voice_table import VoiceSource, cached_voices, read_cohort
from calibrate.splits import SPLITS
from calibrate.workspace import Workspace
from edge.arrays import Matrix
from edge.bundle import SPEAKER_NAME, shipped_bundles
from edge.errors import UsageError
from edge.settings import SpeakerSettings

CONDITIONS = {
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
BOUNDS = {"household list": "household", "open set": "anyone", "one person": "one person"}


def measure_verification(
    workspace: Workspace,
    recipe_path: Path,
    *,
    without: Sequence[str] = (),
    encoder: Path | None = None,
    draws: int,
    leave_out: LeaveOut = "corpora",
    cohort_folder: Path | None = None,
) -> Report:
    """Measure how well speakers are distinguished, and fit the ``SpeakerModel`` that is written along with the report.

    Args:
        without: corpora of the recipe that are left out altogether.
        encoder: ONNX speaker encoder; None: that of the bundle in the package.
        draws: of clips, households and conversations.
        leave_out: what is tested on and not fitted on; a single corpus is never left out, but some of its speakers.
        cohort_folder: recordings of other people, whom scores are compared with.

    Raises:
        UsageError: the corpora cannot be read, or have too few speakers.
        ModelError: ``encoder`` does not keep the contract.
    """
    recipe = read_recipe(recipe_path).leave_out(without)
    parts = read_parts(recipe, workspace.data)
    encoder = encoder or shipped_bundles()["default"] / SPEAKER_NAME
    source = VoiceSource(encoder, workspace.threads)
    cohort = read_cohort(source, cohort_folder, recipe.seed) if cohort_folder else None
    utterances = [utterance for split in SPLITS for utterance in parts[split].utterances]
    voices = cached_voices(source, utterances, workspace.cache, recipe.seed)
    clips = voices.target_s == 0
    enough, left_out = speakers_with_clips(voices.corpus[clips], voices.speaker[clips], LEAST_CLIPS, PURPOSE)
    voices = voices.select(np.isin(voices.speaker, enough))
    if len(np.unique(voices.corpus)) == 1:
        leave_out = "speakers"
    with progress_bar() as progress:
        task = progress.add_task("draws", total=draws * len(np.unique(voices.corpus)))
        figures = evaluate_voices(voices, draws, leave_out, lambda: progress.advance(task), cohort)
    model = fit_model(voices, set(parts["test"].speakers.tolist()), encoder, cohort)
    protocol = "; ".join([describe(voices, draws, model, leave_out), *left_out])
    return verification_report(figures, protocol, model.save)


def fit_model(voices: Voices, test: set[str], encoder: Path, cohort: Matrix | None = None) -> SpeakerModel:
    """Fit on everybody but the test speakers.

    Raises:
        UsageError: nobody is left.
    """
    known = voices.select(~np.isin(voices.speaker, sorted(test)))
    if not len(known.speaker):
        raise UsageError("no speaker of the corpora is in the train or validation split")
    return SpeakerModel.of_onnx(fit_calibration(known, cohort=cohort), encoder)


def describe(voices: Voices, draws: int, model: SpeakerModel, leave_out: LeaveOut) -> str:
    """Return the protocol of the figures."""
    counts = {corpus: len(np.unique(mine.speaker)) for corpus, mine in by_corpus(voices)}
    speakers = ", ".join(f"{corpus} {count}" for corpus, count in counts.items())
    settings = SpeakerSettings()
    cohort = model.calibration.cohort
    compared = "" if cohort is None else f"scores are relative to {len(cohort.prints)} voices of nobody here; "
    tested = (
        f"each corpus of at least five speakers ({speakers}) is left out in turn and all of its speakers are tested "
        f"among themselves, while the calibration is fitted on the other corpora"
        if leave_out == "corpora"
        else f"in each, half of the speakers of every corpus ({speakers}; at least five, none where there are fewer "
        f"than seven) are tested among themselves, and the calibration is fitted on the others"
    )
    return (
        f"{model.architecture}, dim {model.dim}; mean of {draws} seeded draws; {tested}; half of a speaker's clips, "
        "drawn once, only enrol, the others only test; "
        "clips go through the device's voice activity detection; enrolment clips are of as many emotions as possible, "
        "or all neutral; tests of a given duration are clips cut, or prolonged by others of that speaker and emotion; "
        f"{compared}strangers are other speakers of the corpus, expected with probability {settings.stranger}; "
        f"a name needs a posterior of {settings.threshold}, and where one person alone may talk, another voice is left "
        f"out from a posterior of {settings.gate} on; in brackets 95 % intervals of a bootstrap over speakers"
    )


def verification_report(figures: Figures, protocol: str, save_verifier: Callable[[Path], object]) -> Report:
    """Return the report that is ``verification.md``, ``.json`` and ``.png``, and the verifier along with it.

    Args:
        figures: by corpus, what and condition.
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
        rounded({"corpora": _content_of(figures.means), "intervals": _content_of(figures.intervals)}),
        blocks,
        attachments=(save_verifier,),
        closing="report and verifier written to {out}",
    )


def _content_of(figures: Mapping[Figure, float] | Mapping[Figure, Interval]) -> dict[str, Any]:
    """Return corpus to figure to condition to value; None where there were no trials."""
    corpora: dict[str, Any] = {}
    for (corpus, what, *condition), value in figures.items():
        found = corpora.setdefault(corpus, {}).setdefault(what, {})
        found[", ".join(condition)] = None if np.isnan(value).any() else value
    return corpora


def error_rows(figures: Figures) -> list[list[str]]:
    """Return the equal error rates, a row a condition: its name, then a cell a corpus."""
    corpora = corpora_of(figures)
    rows = [(name, [(corpus, "EER", condition) for corpus in corpora]) for condition, name in CONDITIONS.items()]
    return [
        [name, *(_cell(figures, key) for key in keys)]
        for name, keys in rows
        if any(key in figures.means for key in keys)
    ]


def conversation_rows(figures: Figures) -> list[list[str]]:
    """Return the conversations, a row a corpus and kind: corpus, who talks, who may, then a cell an outcome."""
    return [
        [corpus, talk, bound, *(_cell(figures, (corpus, what, of_talk, of_bound)) for what in OUTCOMES)]
        for corpus in corpora_of(figures)
        for of_talk, talk in TALKS.items()
        for of_bound, bound in BOUNDS.items()
        if (corpus, "attributed", of_talk, of_bound) in figures.means
    ]


def corpora_of(figures: Figures) -> list[str]:
    """Return the corpora that have figures."""
    return list(dict.fromkeys(corpus for corpus, *_ in figures.means))


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
    legend_below(canvas, axes[0][:1], "enrolment clips")


def _line(figures: Figures, corpus: str, what: str, count: int) -> list[float]:
    return [figures.means.get((corpus, what, *_timed(count, target_s)), math.nan) for target_s in DURATIONS_S]


def _timed(count: int, target_s: int) -> Figure:
    return f"{count} clips", f"{target_s} s"


def _by_duration(title: str, caption: str, cell: Callable[..., str]) -> Table:
    """Return a row a number of clips, a cell a duration."""
    rows = [[str(count), *(cell(*_timed(count, target_s)) for target_s in DURATIONS_S)] for count in COUNTS]
    return Table(("clips", *(f"{target_s} s" for target_s in DURATIONS_S)), rows, title, caption, medium="file")


def _outcomes(figures: Figures, corpus: str, condition: Sequence[str]) -> str:
    return " / ".join(_cell(figures, (corpus, what, *condition)) for what in OUTCOMES)


def _cell(figures: Figures, key: Figure) -> str:
    value = figures.means.get(key, math.nan)
    low, high = figures.intervals.get(key, (math.nan, math.nan))
    return shown(value) if math.isnan(low) else interval(value, low, high)
