"""Transfer between two corpora, of two languages for instance: what a recipe's model of the source is worth on unseen
speakers of the target, what training on some of these adds, alone or along with the source, and what it costs there."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from calibrate.dataset import Part, read_parts
from calibrate.experiments.retraining import Retrainer, set_aside
from calibrate.experiments.selection import join_parts
from calibrate.experiments.transfer_figures import Outcome, Side, Training, Transfer
from calibrate.experiments.transfer_report import as_json, show, write_transfer
from calibrate.experiments.transfer_rounds import (
    Round,
    rounds_of,
    side_of,
    some_speakers,
    speaker_counts,
    with_shared_labels,
)
from calibrate.progress import progress_bar
from calibrate.recipe import read_recipe
from calibrate.run import Run
from calibrate.splits import SPLITS
from calibrate.train import finetune_run
from calibrate.training.sources import FeatureSource
from calibrate.training.trainer import train_classifier
from edge.errors import UsageError

Trained = tuple[Run, FeatureSource]
"""A model, and where the features of its encoder come from."""


def measure_transfer(
    recipe_path: Path,
    data: Path,
    out: Path,
    *,
    source: str,
    target: str,
    target_speakers: str,
    folds: int | None,
    seeds: int,
    encoder: str | None,
    cache: Path,
    threads: int,
    json_only: bool,
) -> None:
    """Train a recipe on source and target in every way, write the report to ``out`` and show it.

    Raises:
        UsageError: source and target are not two groups of speakers with labels in common, or too few.
    """
    torch.set_num_threads(threads)
    recipe = read_recipe(recipe_path)
    parts = read_parts(recipe, data)
    roles = {utterance.path: split for split in SPLITS for utterance in parts[split].utterances}
    # All corpora of the recipe, whole, since that is how other commands have cached their features.
    require_speakers = [part for part in parts.values() if part.utterances]
    everyone = join_parts(require_speakers)
    sides = [side_of(everyone, source, "--source"), side_of(everyone, target, "--target")]
    if shared := set(sides[0].speakers) & set(sides[1].speakers):
        raise UsageError(f"--source {source} and --target {target} share {len(shared)} speakers")
    sides, labels = with_shared_labels(sides, recipe.labels)
    counts = speaker_counts(target_speakers, rounds_of(sides, roles, folds, recipe.seed))
    recipe = recipe.model_copy(update={"labels": labels})
    trainer = Retrainer(recipe, encoder, cache, require_speakers)
    readable = set(trainer.whole.paths)
    sides = [part.select(np.array([path in readable for path in part.paths])) for part in sides]
    rounds = rounds_of(sides, roles, folds, recipe.seed)
    used = range(recipe.seed, recipe.seed + seeds)
    how = f"{folds} folds of each over all its speakers" if folds else recipe.splits.file or "a seeded draw"
    described = f"recipe {recipe.name}, {source} to {target}; splits: {how}; seeds {used[0]} to {used[-1]}"
    found = run_transfer(trainer, rounds, counts, used, described)
    write_transfer(out, found)
    if json_only:
        print(json.dumps(as_json(found)))
    else:
        show(found)
        print(f"report written to {out}")


def run_transfer(
    trainer: Retrainer, rounds: Sequence[Round], counts: Sequence[int | None], seeds: Sequence[int], described: str
) -> Transfer:
    """Train in every way and hear the test speakers of both sides, in every round, once a seed.

    Args:
        trainer: of the recipe, with the labels that both sides have.
        rounds: no speaker is heard in two of them.
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
    first = trainer.train(source.train, source.validation, seed)
    yield "zero-shot", 0, first
    both = [part for part in (source.validation, target.validation) if part is not None]
    for count in counts:
        some = some_speakers(target.train, count, seed)
        yield "target only", count, trainer.train(some, target.validation, seed)
        yield "fine-tuned", count, train_on(first, some, target.validation, seed, scratch)
        together = join_parts([source.train, some])
        yield "joint", count, trainer.train(together, join_parts(both) if both else None, seed)


def train_on(first: Trained, train: Part, validation: Part | None, seed: int, scratch: Path) -> Trained:
    """Go through a model's recipe once more, from where it ended, on other speakers; the model itself stays as it is.

    Args:
        first: the model.
        train: of the other speakers.
        validation: of others again; None sets some of the training part aside.
        seed: of the draws.
        scratch: folder for logs and checkpoints.
    """
    run, source = first
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
