"""Cross-validation over speakers: each training and validation speaker is tested once, by a model that was trained
without them. Choices are made on these figures, so that the test speakers stay unread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calibrate.dataset import Part, read_parts
from calibrate.experiments.enrolment import METHODS, PROTOCOL, Gain, enrolment_report, measure
from calibrate.experiments.retraining import Retrainer
from calibrate.experiments.selection import held_out_folds
from calibrate.recipe import read_recipe
from calibrate.report import Report
from calibrate.speakers.factor_model import embed_part, fit_population, learned_regulars, strangers_head
from calibrate.workspace import Workspace

WeightedGain = tuple[int, Gain]
"""A gain and how many speakers it was measured on."""


def cross_validate(workspace: Workspace, recipe_path: Path, *, folds: int, encoder: str | None) -> Report:
    """Train a recipe without each fold of speakers, and measure adaptation on these.

    Raises:
        UsageError: a corpus has fewer speakers than folds.
    """
    recipe = read_recipe(recipe_path)
    parts = read_parts(recipe, workspace.data)
    trainer = Retrainer(recipe, encoder, workspace.cache, [parts["train"], parts["validation"]])
    whole = trainer.whole
    gains: list[WeightedGain] = []
    speaker_gains: dict[str, float] = {}
    for held in held_out_folds(whole, folds, recipe.seed):
        found, by_speaker = _measure_fold(trainer, whole.select(~held), whole.select(held))
        gains += found
        speaker_gains |= by_speaker
    protocol = (
        f"{folds} folds over the {len(np.unique(whole.speakers))} training and validation speakers of "
        f"{recipe.splits.origin}, each heard by a model that was trained without them; folds weighted by their "
        f"speakers; temperatures 1; {PROTOCOL}"
    )
    return enrolment_report(_mean(gains), speaker_gains, protocol)


def _measure_fold(trainer: Retrainer, train: Part, held: Part) -> tuple[list[WeightedGain], dict[str, float]]:
    recipe = trainer.recipe
    run, source = trainer.train(train, None, recipe.seed)
    head = strangers_head(run)
    train, embeddings = embed_part(run, train, source)
    population = fit_population(embeddings, train, recipe.labels, head.weight, learned_regulars(run))
    gains, speakers = measure(population, head, *embed_part(run, held, source))
    counts = {corpus: len(np.unique(held.speakers[held.corpora == corpus])) for corpus in np.unique(held.corpora)}
    return [(counts[gain.corpus], gain) for gain in gains], speakers


def _mean(gains: Sequence[WeightedGain]) -> list[Gain]:
    rows: dict[tuple[object, ...], list[WeightedGain]] = defaultdict(list)
    for count, gain in gains:
        rows[gain.corpus, gain.condition, gain.clips].append((count, gain))
    pooled = []
    for same in rows.values():
        weights = [count for count, _ in same]
        ua = {method: float(np.average([gain.ua[method] for _, gain in same], weights=weights)) for method in METHODS}
        pooled.append(Gain(same[0][1].corpus, same[0][1].condition, same[0][1].clips, ua))
    return pooled
