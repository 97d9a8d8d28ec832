"""Leave out each corpus in turn, and each fold of speakers; enrol who was left out with labels in balance or not."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibrate.dataset import Part, Rows, read_whole
from calibrate.experiments.corpus_trainer import CorpusTrainer
from calibrate.experiments.enrolment import room_of
from calibrate.experiments.pldc.categorical import Belief, restricted, score_conditions
from calibrate.experiments.pldc.continuous import EstimatedValues, estimate_part
from calibrate.experiments.pldc.figures import ANSWERING, Case, Collected, Setting
from calibrate.experiments.pldc.report import pldc_report
from calibrate.experiments.pldc.skew import LEAST_CLIPS, draws
from calibrate.experiments.retraining import Retrained, Retrainer
from calibrate.experiments.selection import held_out_folds
from calibrate.progress import progress_bar
from calibrate.recipe import read_recipe
from calibrate.report import Report
from calibrate.workspace import Workspace
from edge.arrays import Matrix
from edge.errors import UsageError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Effort:
    """How often everything is repeated."""

    seeds: int = 5
    """Enrolments of each kind and raised label, of each speaker."""
    folds: int = 5
    """Over the speakers of all corpora that train; 0 leaves none out."""


def measure_pldc(
    workspace: Workspace,
    recipe_path: Path,
    *,
    effort: Effort,
    belief: Belief,
    copies: int | None,
    without: Sequence[str],
    encoder: str | None,
) -> Report:
    """Enrol speakers whom a recipe was not trained on, their labels in balance or not, and learn their prior.

    Args:
        effort: draws and folds.
        belief: how far a prior that was learnt is believed.
        copies: augmented ones to train with; None: as many as the recipe says.
        without: corpora of the recipe that take no part at all.

    Raises:
        UsageError: the recipe trains on one corpus only and there are no folds, a corpus has fewer speakers than folds,
            or nobody has clips enough.
    """
    recipe = read_recipe(recipe_path).leave_out(without)
    if copies is not None:
        augmentation = recipe.augmentation.model_copy(update={"copies": copies})
        recipe = recipe.model_copy(update={"augmentation": augmentation})
    trainer = Retrainer(recipe, encoder, workspace.cache, read_whole(recipe, workspace.data))
    corpora = CorpusTrainer(trainer, recipe.seed)
    if len(corpora.names) < 2 and not effort.folds:
        raise UsageError(
            f"nobody is left out: the recipe trains on {len(corpora.names)} corpus, and there are no folds"
        )
    collected = Collected()
    values: EstimatedValues = {}
    with progress_bar() as progress:
        rounds = list(_left_out(trainer, corpora)) if len(corpora.names) > 1 else []
        folds = list(_folds(trainer, corpora, effort.folds)) if effort.folds else []
        for setting, trained, part in progress.track([*rounds, *folds], description="models"):
            _score_part(collected, setting, trained, part, effort.seeds, belief)
            estimate_part(values, setting, trained.model, *trained.embed(part), recipe.values, effort.seeds)
    if not collected.scores:
        raise UsageError(
            f"no speaker has {LEAST_CLIPS} clips of each of two labels: one to enrol with and one to be tested on"
        )
    return pldc_report(recipe, collected, values, effort.seeds, effort.folds, belief)


Round = tuple[Setting, Retrained, Part]
"""A model, and who is tested by it: speakers of one corpus, none of whom it was trained on."""


def _left_out(trainer: Retrainer, corpora: CorpusTrainer) -> Iterator[Round]:
    whole = trainer.whole
    for corpus in corpora.tested:
        trained = corpora.calibrated(corpora.names - {corpus})
        taught = np.unique(corpora.part_of(corpora.names - {corpus}).labels)
        yield "left out", trained, whole.select((whole.corpora == corpus) & np.isin(whole.labels, taught))


def _folds(trainer: Retrainer, corpora: CorpusTrainer, folds: int) -> Iterator[Round]:
    part = corpora.part_of(corpora.names)
    emotional = part.select(np.isin(part.corpora, list(corpora.names)))
    for held in held_out_folds(emotional, folds, trainer.recipe.seed):
        left_out = emotional.select(held)
        rest = part.select(~np.isin(part.speakers, left_out.speakers))
        trained = trainer.train_for_device(rest, trainer.recipe.seed)
        for corpus in np.unique(left_out.corpora):
            yield "folds", trained, left_out.select(left_out.corpora == corpus)


def _score_part(
    collected: Collected, setting: Setting, trained: Retrained, part: Part, seeds: int, belief: Belief
) -> None:
    """Score every speaker of a part who has clips enough."""
    part, embeddings = trained.embed(part)
    corpus, own = str(part.corpora[0]), np.unique(part.labels)
    rooms: list[Matrix] = [room_of(trained.model, embeddings, seed) for seed in range(seeds)]
    for answering in ANSWERING:
        model = restricted(trained.model, own) if answering == "own labels" else trained.model
        for speaker in np.unique(part.speakers):
            rows = enough_clips(part, str(speaker))
            if not len(rows):
                continue
            labels = np.searchsorted(own, part.labels[rows]) if answering == "own labels" else part.labels[rows]
            for draw in draws(labels, len(model.population.labels), str(speaker), seeds):
                scored = score_conditions(model, embeddings[rows], labels, draw, rooms[draw.seed], belief)
                collected.add(Case(setting, answering, corpus, draw.kind), str(speaker), scored, len(draw.enrolled))


def enough_clips(part: Part, speaker: str) -> Rows:
    """Return a speaker's clips, ``int64[n]``, of the labels of which there are ``LEAST_CLIPS``; none of one label."""
    rows = np.flatnonzero(part.speakers == speaker)
    labels, counts = np.unique(part.labels[rows], return_counts=True)
    kept = labels[counts >= LEAST_CLIPS]
    return rows[np.isin(part.labels[rows], kept)] if len(kept) > 1 else rows[:0]
