"""Training on one corpus, on some speakers of another, and on both."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibrate.dataset import Part, read_parts
from calibrate.experiments.retraining import Retrainer, set_aside
from calibrate.experiments.selection import join_parts, split_of
from calibrate.experiments.transfer.figures import Outcome, Side, Training, Transfer
from calibrate.experiments.transfer.report import transfer_report
from calibrate.experiments.transfer.rounds import (
    Round,
    rounds_of,
    side_of,
    some_speakers,
    speaker_counts,
    with_shared_labels,
)
from calibrate.progress import progress_bar
from calibrate.recipe import read_recipe
from calibrate.report import Report
from calibrate.run import Run
from calibrate.train import finetune_run
from calibrate.training.sources import FeatureSource
from calibrate.training.trainer import train_classifier
from calibrate.workspace import Workspace
from edge.errors import UsageError

Trained = tuple[Run, FeatureSource]
"""A model, and where the features of its encoder come from."""


def measure_transfer(
    workspace: Workspace,
    recipe_path: Path,
    *,
    source: str,
    target: str,
    target_speakers: str,
    folds: int | None,
    seeds: int,
    encoder: str | None,
) -> Report:
    """Train a recipe on source and target in every way.

    Args:
        source: corpus of the recipe, or a range of its speakers, see ``rounds.side_of``.
        target: the same of what is transferred to.
        target_speakers: how many to train on, see ``rounds.speaker_counts``.
        folds: of the speakers of both; None: the recipe's fixed split.
        seeds: draws of target speakers and of the training.

    Raises:
        UsageError: source and target are not two groups of speakers with labels in common, or too few.
    """
    recipe = read_recipe(recipe_path)
    parts = read_parts(recipe, workspace.data)
    splits = split_of(parts)
    # All corpora of the recipe, whole, since that is how other commands have cached their features.
    used = [part for part in parts.values() if part.utterances]
    everyone = join_parts(used)
    sides = [side_of(everyone, source, "--source"), side_of(everyone, target, "--target")]
    if shared := set(sides[0].speakers) & set(sides[1].speakers):
        raise UsageError(f"--source {source} and --target {target} share {len(shared)} speakers")
    sides, labels = with_shared_labels(sides, recipe.labels)
    counts = speaker_counts(target_speakers, rounds_of(sides, splits, folds, recipe.seed))
    recipe = recipe.model_copy(update={"labels": labels})
    trainer = Retrainer(recipe, encoder, workspace.cache, used)
    readable = set(trainer.whole.paths)
    sides = [part.select(np.array([path in readable for path in part.paths])) for part in sides]
    rounds = rounds_of(sides, splits, folds, recipe.seed)
    drawn = range(recipe.seed, recipe.seed + seeds)
    how = f"{folds} folds of each over all its speakers" if folds else recipe.splits.origin
    described = f"recipe {recipe.name}, {source} to {target}; splits: {how}; seeds {drawn[0]} to {drawn[-1]}"
    return transfer_report(run_transfer(trainer, rounds, counts, drawn, described))


def run_transfer(
    trainer: Retrainer, rounds: Sequence[Round], counts: Sequence[int | None], seeds: Sequence[int], described: str
) -> Transfer:
    """Train in every way and test on the test speakers of both sides, in every round, once a seed.

    Args:
        trainer: of the recipe, with the labels that both sides have.
        rounds: no speaker is tested in two of them.
        counts: target speakers to train on; None is all.
        seeds: of the draws of these speakers, and of the training.
        described: what is transferred, for the report.
    """
    labels = trainer.recipe.labels
    sides = tuple(Side.of([cut.test for cut in cuts], len(labels)) for cuts in zip(*rounds, strict=True))
    there = float(np.mean([len(np.unique(each.target.train.speakers)) for each in rounds]))
    outcomes: dict[tuple[Training, int | None], Outcome] = {}
    with progress_bar() as progress, tempfile.TemporaryDirectory(prefix="affectd-") as scratch:
        task = progress.add_task("transfer", total=len(seeds) * len(rounds) * (1 + 3 * len(counts)))
        for number, seed in enumerate(seeds):
            for each in rounds:
                for training, count, (run, source) in _train_all_ways(trainer, each, counts, seed, Path(scratch)):
                    speakers = there if count is None else float(count)
                    none = [np.zeros((len(seeds), *side.asked.shape), np.int64) for side in sides]
                    outcome = outcomes.setdefault((training, count), Outcome(training, speakers, none))
                    for side, right, cut in zip(sides, outcome.right, each, strict=True):
                        part, probabilities = run.probabilities(cut.test, source)
                        right[number] += side.count(part, probabilities.argmax(axis=1) == part.labels)
                    progress.advance(task)
    return Transfer(sides[0], sides[1], labels, list(outcomes.values()), described)


def _train_all_ways(
    trainer: Retrainer, each: Round, counts: Sequence[int | None], seed: int, scratch: Path
) -> Iterator[tuple[Training, int | None, Trained]]:
    """Yield how a model was trained, on how many target speakers, and the model."""
    source, target = each
    zero_shot = trainer.train(source.train, source.validation, seed)
    yield "zero-shot", 0, zero_shot
    both = [part for part in (source.validation, target.validation) if part is not None]
    for count in counts:
        some = some_speakers(target.train, count, seed)
        yield "target only", count, trainer.train(some, target.validation, seed)
        yield "fine-tuned", count, train_on(zero_shot, some, target.validation, seed, scratch)
        together = join_parts([source.train, some])
        yield "joint", count, trainer.train(together, join_parts(both) if both else None, seed)


def train_on(model: Trained, train: Part, validation: Part | None, seed: int, scratch: Path) -> Trained:
    """Go through a model's recipe once more, from where it ended, on other speakers; the model itself stays as it is.

    Args:
        model: trained on one part.
        train: of the other speakers.
        validation: of others again; None sets some of the training part aside.
        seed: of the draws.
        scratch: folder for logs and checkpoints.
    """
    run, source = model
    recipe = run.recipe
    parts = (train, validation) if validation is not None else set_aside(recipe, train, seed)
    run = replace(run, classifier=copy.deepcopy(run.classifier))
    if recipe.schedule.epochs:
        train_classifier(run.classifier, source, parts, recipe.schedule, scratch, seed=seed, fit=False)
    if not recipe.encoder.finetune:
        return run, source
    run.encoder = copy.deepcopy(run.encoder)
    finetune_run(run, parts, scratch, seed=seed)
    return run, run.source(scratch)
