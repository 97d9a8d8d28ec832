"""The report on personalised label distribution calibration."""

from __future__ import annotations

from collections.abc import Sequence

from calibrate.bootstrap import Estimate
from calibrate.experiments.pldc.categorical import OFFSETS, PRIORS, Belief
from calibrate.experiments.pldc.continuous import EstimatedValues
from calibrate.experiments.pldc.figures import (
    ANSWERING,
    MEAN,
    MEASURES,
    SETTINGS,
    Answering,
    Case,
    Collected,
    Measure,
    Setting,
    cases_of,
)
from calibrate.experiments.pldc.skew import LEAST_CLIPS, LEAST_TESTED, MOST_ENROLLED
from calibrate.experiments.pldc.values_report import VALUES_PROTOCOL, value_blocks, value_content
from calibrate.recipe import Recipe
from calibrate.report import Note, Report, Table, interval, points, rounded
from calibrate.report.blocks import Block
from calibrate.report.cells import Cell
from calibrate.streams import KINDS, SHARES

NAMES = {"wa": "WA", "ua": "UA", "loss": "log loss"}
LEARNT = [prior for prior in PRIORS if prior != "none"]
DEVICE = "person, room"
"""What the device does."""
PROTOCOL = (
    "left out: for each corpus in turn, trained on every speaker of the others, temperature of corpora left out; "
    "folds: every speaker of the corpora that train is tested by a model that was trained without them, temperature 1. "
    f"Labels that nobody taught, and of which a speaker has fewer than {LEAST_CLIPS} clips, take no part. Each speaker "
    f"enrols with up to {MOST_ENROLLED} unlabelled clips in balance, or of which one label, each in turn, has a share "
    f"of {SHARES['half']} or {SHARES['four fifths']} and the others share the rest; at least {LEAST_TESTED} clips of "
    "each label are left. All their other clips are tested and weigh by label as the enrolment was drawn, as if "
    "resampled without end. The room is estimated from up to 64 utterances of the corpus's tested speakers. WA: share "
    "right of the speaker's clips so weighed; UA: mean recall over their labels; log loss: mean of -log p(true label). "
    "All are means over draws and labels, then speakers, then corpora; in brackets 95 % intervals over speakers. own "
    "labels: answers and priors know the corpus's labels only, so that no prior gains by which labels a corpus lacks"
)


def pldc_report(
    recipe: Recipe, found: Collected, values: EstimatedValues, seeds: int, folds: int, belief: Belief
) -> Report:
    """Return the report that is ``pldc.md``, ``.csv`` and ``.json``.

    Args:
        recipe: that was trained by.
        found: all scores.
        values: what was estimated of the recipe's values; empty where it has none.
        seeds: draws of an enrolment.
        folds: over the speakers.
        belief: how far a prior was believed.
    """
    speakers = {
        case.corpus: len(scores)
        for case, scores in found.scores.items()
        if (case.setting, case.answering) == (next(iter(found.scores)).setting, "own labels")
    }
    counts = ", ".join(f"{corpus} {count}" for corpus, count in speakers.items())
    protocol = (
        f"{recipe.name}, {recipe.augmentation.copies} augmented copies, {seeds} draws of each kind and label, {folds} "
        f"folds, power {belief.power:g}, prior clips {belief.prior_clips:g}; speakers: {counts}. {PROTOCOL}"
    )
    protocol += f". {VALUES_PROTOCOL}" if values else ""
    title = f"{recipe.name}: a label prior for each person"
    settings = [setting for setting in SETTINGS if found.corpora(setting)]
    blocks: list[Block] = []
    for setting in settings:
        for answering in ANSWERING:
            blocks += [_gains(found, setting, answering, measure) for measure in MEASURES]
        blocks.append(_corpora(found, setting))
    meaning = [
        f"- {name}: {text}" for name, text in {**OFFSETS, **{f"prior {k}": v for k, v in PRIORS.items()}}.items()
    ]
    blocks.append(Note("\n".join(meaning), medium="file"))
    blocks += value_blocks(values)
    content = {"categorical": _content(found), "continuous": value_content(values)}
    files = ("pldc.md", "pldc.csv", "pldc.json")
    return Report(files, title, protocol, rounded(content), blocks, sheet=_sheet(found))


def _gains(found: Collected, setting: Setting, answering: Answering, measure: Measure) -> Table:
    """Return the mean over corpora, a row each kind and offset, and what every prior adds."""
    rows: list[Sequence[Cell]] = []
    for kind in KINDS:
        case = Case(setting, answering, MEAN, kind)
        for offset in OFFSETS:
            gains = [_gain(found, case, offset, prior, measure) for prior in LEARNT]
            rows.append((kind, offset, _value(found.estimate(case, (offset, "none"), measure)), *gains))
    title = f"{NAMES[measure]}, {setting}, {answering}"
    unit = "in hundredths of a nat; less is better" if measure == "loss" else "in points"
    caption = f"mean over corpora without a prior, and what each prior adds, {unit}"
    on_terminal = answering == "own labels" and measure == "wa"
    columns = ("labels", "offset", "no prior", *LEARNT)
    return Table(columns, rows, title, caption, medium="both" if on_terminal else "file")


def _corpora(found: Collected, setting: Setting) -> Table:
    """Return WA, UA and log loss of each corpus as the device answers, and what its prior adds."""
    rows: list[Sequence[Cell]] = []
    for kind in KINDS:
        for case in cases_of(setting, "own labels", found.corpora(setting), kind):
            clips = None if case.corpus == MEAN else f"{found.clips(case):.1f}"
            values = [
                shown
                for measure in MEASURES
                for shown in (
                    found.estimate(case, (DEVICE, "none"), measure).value,
                    _gain(found, case, DEVICE, "EM", measure),
                )
            ]
            rows.append((case.corpus, kind, clips, *values))
    columns = ("corpus", "labels", "clips", "WA", "prior", "UA", "prior", "log loss", "prior")
    caption = "of the enrolled in the room, own labels; prior: EM; clips: of an enrolment, in the mean"
    return Table(columns, rows, f"Corpora, {setting}", caption)


def _gain(found: Collected, case: Case, offset: str, prior: str, measure: Measure) -> str:
    gain = found.gain(case, (offset, prior), measure, over=(offset, "none"))
    return points(gain.value, *(gain.interval or ()))


def _value(estimate: Estimate) -> Cell:
    return estimate.value if estimate.interval is None else interval(estimate.value, *estimate.interval)


def _every(found: Collected) -> list[Case]:
    return [
        case
        for setting in SETTINGS
        if found.corpora(setting)
        for answering in ANSWERING
        for kind in KINDS
        for case in cases_of(setting, answering, found.corpora(setting), kind)
    ]


def _sheet(found: Collected) -> Table:
    """Return all figures, a row a condition."""
    rows: list[Sequence[Cell]] = []
    for case in _every(found):
        for offset, prior in found.conditions():
            values = [found.estimate(case, (offset, prior), measure).value for measure in MEASURES]
            rows.append((case.setting, case.answering, case.corpus, case.kind, offset, prior, *values))
    return Table(("setting", "answers", "corpus", "labels", "offset", "prior", *NAMES.values()), rows)


def _content(found: Collected) -> list[dict[str, object]]:
    """Return the means over corpora as JSON values, with intervals; each corpus is in the CSV file."""
    return [
        {"setting": case.setting, "answers": case.answering, "labels": case.kind, "offset": offset, "prior": prior}
        | {
            measure: found.estimate(case, (offset, prior), measure).values()
            | {"gain": found.gain(case, (offset, prior), measure, (offset, "none")).values()}
            for measure in MEASURES
        }
        for case in _every(found)
        if case.corpus == MEAN
        for offset, prior in found.conditions()
    ]
