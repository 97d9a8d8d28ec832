"""Cross-validation over speakers: each training and validation speaker is tested once, by a model that was trained
without them. Choices are made on these figures, so that the test speakers stay unread."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calibrate.dataset import Part, read_parts
from calibrate.experiments.clip_counts import speakers_with_clips
from calibrate.experiments.enrolment import LEAST_CLIPS, PROTOCOL, PURPOSE, Gain, cannot_enrol, mean_gains, measure
from calibrate.experiments.enrolment_report import enrolment_report
from calibrate.experiments.retraining import Retrainer
from calibrate.experiments.selection import held_out_folds
from calibrate.progress import progress_bar
from calibrate.recipe import read_recipe
from calibrate.report import Report
from calibrate.workspace import Workspace


def cross_validate(workspace: Workspace, recipe_path: Path, *, folds: int, encoder: str | None) -> Report:
    """Train a recipe without each fold of speakers, and measure adaptation on these.

    Raises:
        UsageError: a corpus has fewer speakers than folds, or nobody has clips enough.
    """
    recipe = read_recipe(recipe_path)
    parts = read_parts(recipe, workspace.data)
    trainer = Retrainer(recipe, encoder, workspace.cache, [parts["train"], parts["validation"]])
    whole = trainer.whole
    enough, left_out = speakers_with_clips(whole.corpora, whole.speakers, LEAST_CLIPS, PURPOSE)
    is_tested = np.isin(whole.speakers, enough)
    left_out += cannot_enrol(whole.select(is_tested), recipe.labels)
    gains: list[Gain] = []
    speaker_gains: dict[str, float] = {}
    with progress_bar() as progress:
        for held in progress.track(held_out_folds(whole, folds, recipe.seed), description="folds"):
            if (held & is_tested).any():
                found, by_speaker = _measure_fold(trainer, whole.select(~held), whole.select(held & is_tested))
                gains += found
                speaker_gains |= by_speaker
    protocol = (
        f"{folds} folds over the {len(np.unique(whole.speakers))} training and validation speakers of "
        f"{recipe.splits.origin}, each heard by a model that was trained without them; folds weighted by their "
        f"speakers; temperatures 1; {PROTOCOL}"
    )
    protocol = "; ".join([protocol, *left_out])
    return enrolment_report(mean_gains(gains), speaker_gains, protocol)


def _measure_fold(trainer: Retrainer, train: Part, held: Part) -> tuple[list[Gain], dict[str, float]]:
    trained = trainer.train_for_device(train, trainer.recipe.seed)
    return measure(trained.model, *trained.embed(held))
